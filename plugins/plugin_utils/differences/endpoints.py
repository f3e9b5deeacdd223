"""Runs on the controller: the endpoints that nodes are to run, against the containers that they have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.containers import (
    container_difference,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import (
    CONTAINER_SETTINGS,
    release_settings,
    wanted_setting,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.placement import endpoint_deviations
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    HostVars,
    Machine,
    Release,
    State,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import container_name, other_slot


def endpoint_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield in what the nodes differ from the releases that the state says they run."""
    state = fleet.state
    if state is None:
        return
    if state["live"] is None:
        yield _nothing_live(fleet)
        return
    for node in fleet.members("model_nodes"):
        yield from _traffic(node, state)
        yield from _settings(fleet, node, state["live"])
        releases = {state["live_slot"]: state["live"]}
        if state["candidate"] and node in state["candidate"]["nodes"]:
            releases[other_slot(state["live_slot"])] = state["candidate"]["release"]
        for slot, release in releases.items():
            yield from _container(fleet, node, release, slot)
        if not state["candidate"]:
            yield from _retired(fleet, node, other_slot(state["live_slot"]))


def _nothing_live(fleet: Fleet) -> Difference:
    """Return that no release is live."""
    return {
        "host": fleet.groups["load_balancers"][0],
        "thing": "release",
        "wanted": "one is live",
        "found": "nothing is live",
        "mended_by": SITE,
        "change": "",  # the plan's sentence names the release
    }


def _traffic(node: str, state: State) -> Iterator[Difference]:
    """Yield that `node` is not in the traffic, where the state says so."""
    entry = state["nodes"].get(node)
    if entry and entry["status"] == "up":
        return
    yield {
        "host": node,
        "thing": "traffic",
        "wanted": "up",
        "found": f"{entry['status']}: {entry['reason']}" if entry else "not in the traffic yet",
        "mended_by": SITE,
        "change": f"send requests to {node}",
    }


def _settings(fleet: Fleet, node: str, live: Release) -> Iterator[Difference]:
    """Yield the settings of `node` that the inventory has changed since the live release was made."""
    found = release_settings(live, node)
    wanted = {
        name: wanted_setting(cast("HostVars", fleet.hostvars), node, name) for name in CONTAINER_SETTINGS
    }
    changed = [name for name in wanted if name in found and wanted[name] != found[name]]
    if changed:
        yield {
            "host": node,
            "thing": "settings of the live release",
            "wanted": ", ".join(f"{name} {wanted[name]}" for name in changed),
            "found": ", ".join(f"{name} {found[name]}" for name in changed),
            "mended_by": SITE,
            "change": "",  # the plan's sentence names the release
        }


def _container(fleet: Fleet, node: str, release: Release, slot: str) -> Iterator[Difference]:
    """Yield the container of `release` on `node`, where it differs from what is wanted."""
    hostvars, machine = cast("HostVars", fleet.hostvars), cast("Machine", fleet.found(node))
    if deviations := endpoint_deviations(hostvars, machine, node, slot, release):
        yield container_difference(node, container_name(node, slot), deviations)


def _retired(fleet: Fleet, node: str, slot: str) -> Iterator[Difference]:
    """Yield the container of `node` in `slot`, which gets no requests, where it runs all the same."""
    name = container_name(node, slot)
    container = fleet.found(node)["containers"].get(name)
    if container and container["running"]:
        yield {
            "host": node,
            "thing": f"container {name}",
            "wanted": "stopped",
            "found": "running",
            "mended_by": SITE,
            "change": f"stop the container {name}",
        }

"""Runs on the controller: the endpoints as load balancers see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict, cast

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import published_addresses
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars as ReleaseHostVars
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    EndpointAddress,
    drained_nodes,
    other_slot,
)


class Slot(TypedDict):
    """The endpoints of a slot that get requests, or copies of them."""

    slot: str
    release: str
    endpoints: list[EndpointAddress]


class Seen(TypedDict, total=False):
    """What module endpoint_probe found out about an endpoint."""

    ready: bool
    in_flight: int | None
    certificate_end: float | None
    error: str


def traffic_slots(hostvars: HostVars, groups: Groups, state: State) -> list[Slot]:
    """Return the slots that get requests, with the endpoints that do: the live one, and a candidate's."""
    if state["live"] is None:
        return []
    drained = set(drained_nodes(hostvars, groups["model_nodes"], state))
    up = {node for node, entry in state["nodes"].items() if entry["status"] == "up"}
    slots = [(state["live_slot"], state["live"], up)]
    if candidate := state["candidate"]:
        slots.append((other_slot(state["live_slot"]), candidate["release"], set(candidate["nodes"])))
    return [
        {
            "slot": slot,
            "release": release["id"],
            "endpoints": published_addresses(
                cast("ReleaseHostVars", hostvars),
                release,
                [node for node in groups["model_nodes"] if node in nodes - drained],
                slot,
            ),
        }
        for slot, release, nodes in slots
    ]


def seen_endpoints(hostvars: HostVars, balancers: Sequence[str]) -> dict[str, dict[str, dict[str, Seen]]]:
    """Return what each load balancer saw of each endpoint that gets requests: by node, release and load balancer.

    Only status.yml has the load balancers look.
    """
    seen: dict[str, dict[str, dict[str, Seen]]] = {}
    for balancer in balancers:
        probes = cast(
            "Mapping[str, Sequence[Mapping[str, object]]]", hostvars[balancer].get("release_probes", {})
        )
        for probe in probes.get("results", ()):
            slot = cast("Slot", probe["item"])
            for node, found in cast("Mapping[str, Seen]", probe.get("endpoints", {})).items():
                seen.setdefault(node, {}).setdefault(slot["release"], {})[balancer] = found
    return seen


def health_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the endpoints that get requests and that a load balancer can't use."""
    seen = seen_endpoints(fleet.hostvars, fleet.members("load_balancers"))
    for node, releases in seen.items():
        for release, views in releases.items():
            if faults := faults_of(views):
                yield {
                    "host": node,
                    "thing": f"endpoint of {release}",
                    "wanted": "ready",
                    "found": "; ".join(faults),
                    "mended_by": f"playbooks/logs.yml -e node={node}, which shows why",
                    "change": "",
                }


def faults_of(views: Mapping[str, Seen]) -> list[str]:
    """Return what load balancers find wrong with an endpoint, of which `views` has what each of them saw."""
    return [
        f"{balancer}: {found.get('error') or 'not ready'}"
        for balancer, found in views.items()
        if not found.get("ready")
    ]

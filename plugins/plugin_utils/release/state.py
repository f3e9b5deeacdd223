"""Runs on the controller: the state that the load balancers keep, its format and its number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.copies import copied
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    NodeSettings,
    Plan,
    Release,
    State,
    WrittenState,
)

STATE_FORMAT = 1
"""The format of the state. The form before had no number, and `colour` instead of `live_slot`."""

UPDATED_FORMAT = 2
"""The format of a state with `packages_of`. An earlier Flotilla, which does not know it, would bring the older images
back, and refuses it."""

KEEP_RELEASES = 5
"""How many releases a fleet can go back among, the live one included."""

EMPTY_STATE: State = {
    "format": STATE_FORMAT,
    "serial": 0,
    "live_slot": "blue",
    "live": None,
    "candidate": None,
    "previous": [],
    "nodes": {},
    "drained": [],
}


class NewerStateError(Exception):
    """A state has a newer format than this code knows; the message names both formats and the fix."""


def latest_state(states: Mapping[str, Mapping[str, Any] | None]) -> State:
    """Return the state that was written last, of those that load balancers hold, in the present form.

    `states` are the states as the files have them, by load balancer, None where there is no file. Without any state
    the answer is an empty one.

    Raises:
        NewerStateError: when a state has a format that this code does not know.
    """
    latest = EMPTY_STATE
    for balancer, written in states.items():
        if written:
            state = _present_form(balancer, written)
            latest = max(latest, state, key=lambda found: found["serial"])
    return copied(latest)


def _present_form(balancer: str, written: Mapping[str, Any]) -> State:
    """Return the state in the present form, without the version, which each load balancer has its own."""
    found = int(written.get("format", 0))
    if found > UPDATED_FORMAT:
        raise NewerStateError(
            f"{balancer}: the state has format {found}, and this Flotilla knows {UPDATED_FORMAT}: run the newer "
            "Flotilla that wrote it"
        )
    state = {name: copied(value) for name, value in written.items() if name != "version"}
    if found == 0:
        state |= {"format": STATE_FORMAT, "live_slot": state.pop("colour")}
        for release in kept_releases(cast("State", state)):
            _rename_fast_lane(release["settings"])
    return cast("State", state)


def _rename_fast_lane(settings: NodeSettings) -> None:
    """Give the setting that format 1 calls fast_path its name."""
    for own in (settings["common"], *settings["nodes"].values()):
        if "fast_lane" in own:
            own["fast_path"] = own.pop("fast_lane")


def serves_state(state: State, written: WrittenState | None, served: str) -> bool:
    """Tell whether a load balancer that holds the state `written` and serves the version `served` serves `state`.

    A load balancer does not where a run was interrupted before Nginx had read what that run wrote.
    """
    return written is not None and written["serial"] == state["serial"] and written.get("version") == served


def numbered(state: State, before: State) -> State:
    """Return `state` with the serial of `before`, raised by one if they differ in anything else."""
    same: bool = {**state, "serial": 0} == {**before, "serial": 0}
    return {**state, "serial": before["serial"] + (not same)}


def with_updates(state: State, updates: Mapping[str, str]) -> State:
    """Return the state in which the images of these repositories have the packages of these times."""
    if not updates:
        return state
    return {**state, "format": UPDATED_FORMAT, "packages_of": {**state.get("packages_of", {}), **updates}}


def in_traffic(state: State) -> set[str]:
    """Return the nodes that requests are sent to, of either release, drained nodes included."""
    up = {node for node, entry in state["nodes"].items() if entry["status"] == "up"}
    return up | set(state["candidate"]["nodes"] if state["candidate"] else ())


def kept_releases(state: State) -> list[Release]:
    """Return the releases whose images are kept: the live one, the candidate, and those before."""
    candidate = [state["candidate"]["release"]] if state["candidate"] else []
    return [release for release in [state["live"], *candidate, *state["previous"]] if release]


def needed_images(state: State) -> list[str]:
    """Return the images that nodes run from, by digest: the live release's, and a candidate's."""
    running = [state["live"], state["candidate"]["release"] if state["candidate"] else None]
    return list(dict.fromkeys(release["reference"] for release in running if release))


def is_live(plan: Plan, state: State) -> bool:
    """Tell whether the plan's target is the live release of `state`."""
    target, live = plan["target"], state["live"]
    return target is not None and live is not None and live["id"] == target["id"]


def gets_traffic(plan: Plan, state: State) -> bool:
    """Tell whether load balancers that hold `state` send requests to the plan's target."""
    return state["candidate"] is not None or is_live(plan, state)


def unneeded_images(images: Iterable[str], kept: Iterable[str], push_endpoint: str) -> list[str]:
    """Return those of a machine's `images` that none of the references `kept` names, by digest.

    Images by the name of `push_endpoint`, where the builder pushes them, are left to the builder, which removes them
    with their tags.
    """
    needed = set(kept)
    return [
        image
        for image in images
        if "/flotilla/model-endpoint@" in image
        and not image.startswith(f"{push_endpoint}/")
        and image not in needed
    ]


def forgotten_nodes(state: State) -> list[str]:
    """Return, for the user, the nodes whose machines still have what they left, and how to have them forgotten."""
    return [
        f"{entry['node']} is forgotten: it has left the inventory, and what it left"
        f"{' on ' + entry['machine'] if entry['machine'] else ''} can't be reached: "
        f"playbooks/remove_node.yml -e node={entry['node']} ends this warning"
        for entry in state.get("forgotten", [])
    ]

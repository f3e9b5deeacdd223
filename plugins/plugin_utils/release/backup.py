"""Runs on the controller: the state and the audit log of a fleet in a backup, and how they are restored."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.history import merged_log
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.copies import copied
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import machine_of
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import (
    EMPTY_STATE,
    KEEP_RELEASES,
    NewerStateError,
    latest_state,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import (
    found_state,
    present_balancers,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars, Release, State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups

STATE, AUDIT = "state.json", "audit.jsonl"
"""The names of the files, in a backup and on a load balancer."""

FOLDER = "/var/lib/flotilla"
"""Where a load balancer has them."""


class BackedUp(TypedDict):
    """A file of a backup."""

    path: str
    content: str


class SaveStep(TypedDict):
    """What is to be in a backup, besides the authorities."""

    refusal: str
    """Why nothing is saved, or empty."""
    files: list[BackedUp]


class RestoreStep(TypedDict):
    """What load balancers are to get from a backup."""

    refusal: str
    """Why nothing is restored, or empty."""
    balancers: list[str]
    """Those that get the state and the audit log; empty where a load balancer has a state, which stays."""
    state: str
    """The content of the state's file."""
    audit: str
    """The content of the audit log's file."""
    live: str
    """The release that is live; empty where nothing is."""
    told: str
    """What is restored, for the user."""


def save_step(
    hostvars: HostVars,
    groups: Groups,
    present: Sequence[str],
    logs: Iterable[Mapping[str, object]],
    folder: str,
) -> SaveStep:
    """Return the state that was written last and the lines of all audit `logs`, with those that `folder` has.

    `logs` are what module slurp returned for the load balancers' audit logs.
    """
    place = pathlib.Path(folder)
    try:
        state, kept = found_state(hostvars, groups, present), _kept_state(place)
    except (NewerStateError, ValueError) as error:
        return {"refusal": str(error), "files": []}
    number, older = state["serial"], kept["serial"]
    if not number:
        return {"refusal": "no load balancer has a state of the fleet: run site.yml before", "files": []}
    if older > number:
        return {
            "refusal": f"the backup in {place} has a later state (number {older}) than the load balancers (number"
            f" {number}), as it has where those were replaced by empty machines: name another folder",
            "files": [],
        }
    known = (place / AUDIT).read_text(encoding="utf-8") if (place / AUDIT).exists() else ""
    return {
        "refusal": "",
        "files": [
            {"path": str(place / STATE), "content": _written(state)},
            {"path": str(place / AUDIT), "content": merged_log(logs, known)},
        ],
    }


def restore_step(
    hostvars: HostVars,
    groups: Groups,
    present: Sequence[str],
    logs: Iterable[Mapping[str, object]],
    folder: str,
) -> RestoreStep:
    """Return what the load balancers are to get from the backup in `folder`. A state that one of them has stays."""
    step: RestoreStep = {"refusal": "", "balancers": [], "state": "", "audit": "", "live": "", "told": ""}
    place, balancers = pathlib.Path(folder), present_balancers(hostvars, groups, present)
    try:
        found, kept = found_state(hostvars, groups, present), _kept_state(place)
    except (NewerStateError, ValueError) as error:
        return {**step, "refusal": str(error)}
    if found["serial"]:
        live = found["live"]["id"] if found["live"] else ""
        return {**step, "live": live, "told": "the load balancers have a state, which stays"}
    away = [host for host in groups["load_balancers"] if host not in balancers]
    if not kept["serial"]:
        return {**step, "refusal": f"{place} is no backup of a fleet: it has no {STATE}"}
    if away:
        return {
            **step,
            "refusal": f"{', '.join(away)} can't be reached, and may have a later state than the backup: bring it back,"
            " or take it out of load_balancers if it is gone",
        }
    runs = _runs_live(kept, hostvars, groups)
    state = kept if runs or kept["live"] is None else as_history(kept, groups["model_nodes"])
    return {
        **step,
        "balancers": balancers,
        "state": _written(state),
        "audit": merged_log(
            logs, (place / AUDIT).read_text(encoding="utf-8") if (place / AUDIT).exists() else ""
        ),
        "live": state["live"]["id"] if state["live"] else "",
        "told": f"the load balancers have the state (number {state['serial']}) and the history; {_told(kept, runs)}",
    }


def _told(kept: State, runs: bool) -> str:
    """Return what becomes of the release that was live, for the user."""
    if kept["live"] is None:
        return "nothing was live"
    release = kept["live"]["id"]
    return (
        f"{release} is live"
        if runs
        else f"no node runs {release}, which was live: site.yml releases it again"
    )


def as_history(state: State, nodes: Sequence[str]) -> State:
    """Return `state` for machines that run nothing of it: its releases are ones to go back to, and none is live.

    Neither the places nor the registry of the machines before mean anything to the `nodes` that there are now.
    """
    live = [state["live"]] if state["live"] else []
    history: State = {
        **copied(state),
        "live_slot": EMPTY_STATE["live_slot"],
        "live": None,
        "candidate": None,
        "previous": [_without_places(release) for release in [*live, *state["previous"]]][
            : KEEP_RELEASES - 1
        ],
        "nodes": {},
        "drained": [node for node in state["drained"] if node in nodes],
    }
    history.pop("forgotten", None)
    return history


def _without_places(release: Release) -> Release:
    """Return `release` without what only holds on the machines that it ran on: they are found anew."""
    nodes = {
        node: {name: value for name, value in own.items() if name not in ("address", "port")}
        for node, own in release["settings"]["nodes"].items()
    }
    settings = {**release["settings"], "nodes": {node: own for node, own in nodes.items() if own}}
    return {**release, "reference": "", "settings": settings}  # type: ignore[typeddict-item]


def _runs_live(state: State, hostvars: HostVars, groups: Groups) -> bool:
    """Tell whether a node that could be inspected has a container of the live release."""
    live = state["live"]
    return live is not None and any(
        container["labels"].get("flotilla.release") == live["id"]
        for node in groups["model_nodes"]
        for container in machine_of(hostvars, node)["containers"].values()
    )


def _kept_state(folder: pathlib.Path) -> State:
    """Return the state that a backup has, an empty one where it has none.

    Raises:
        NewerStateError: when it has a newer format than this code knows.
        ValueError: when the file holds anything else.
    """
    file = folder / STATE
    if not file.exists():
        return EMPTY_STATE
    try:
        written: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} can't be read ({error}): it holds no state") from error
    if not isinstance(written, dict):
        raise ValueError(f"{file} holds no state")
    return latest_state({str(file): written})


def _written(state: State) -> str:
    return json.dumps(state, indent=1, sort_keys=True) + "\n"

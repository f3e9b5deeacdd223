"""Runs on the controller: what a run is to do, one function per operation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import (
    add_nodes,
    same_content,
    with_new_id,
    with_unique_id,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.copies import copied
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import with_updates
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    Operation,
    Plan,
    Release,
    ReleaseSettings,
    State,
    Step,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import other_slot

POLLS = 10
"""How often, about, the access log is read while a step is watched; a second apart at least."""


class RefusedError(Exception):
    """The request can't be met; the message says why, and the fix."""


@dataclass(frozen=True)
class Request:
    """What is asked of a run."""

    operation: Operation
    nodes: Sequence[str]
    """All hosts of model_nodes."""
    balancers: Sequence[str]
    """The load balancers that the run is about and that can be reached."""
    away: Sequence[str]
    """The load balancers that the run is about and that can't be reached."""
    limited: bool
    """Whether the run leaves out hosts of the fleet."""
    settings: ReleaseSettings
    wanted: Release | None = None
    """What this checkout and the inventory would release, for deploy."""
    release: str = ""
    """The id of a release, for rollback."""
    node: str = ""
    """A host of model_nodes, for drain, undrain and remove; for remove, also a node that has left the inventory."""
    restage: Sequence[str] = ()
    """Why the live release has to be started anew in the other slots, for deploy (see reasons_to_restage)."""
    updates: Mapping[str, str] = field(default_factory=dict)
    """The images that are made anew of newer packages, for deploy (see plugin_utils/updates.py)."""


@dataclass
class Decision:
    """What an operation comes to: the state to begin with, the release to go live if any, a line for the user."""

    baseline: State
    target: Release | None = None
    note: str = ""
    restages: bool = False
    """Whether the target is the live release, started anew in the other slots."""


def release_plan(state: State, request: Request) -> Plan:
    """Return what a run is to do. Why nothing can be done, if so, is the plan's `error`."""
    plan: Plan = {
        "operation": request.operation,
        "node": request.node,
        "state": state,
        "baseline": copied(state),
        "target": None,
        "target_slot": state["live_slot"] if state["live"] is None else other_slot(state["live_slot"]),
        "rolling": False,
        "steps": [],
        "watched": False,
        "shadow": 0.0,
        "first": state["live"] is None,
        "limited": request.limited,
        "note": "",
        "error": "",
    }
    try:
        decision = _decide(state, request)
    except RefusedError as error:
        plan["error"] = str(error)
        return plan
    target, rolling = decision.target, request.settings["strategy"] == "rolling"
    plan["baseline"], plan["target"], plan["note"] = decision.baseline, target, decision.note
    plan["rolling"] = bool(target and state["live"] and rolling)
    if target:
        restaged = [_step(100, request.settings["bake_seconds"])]
        plan["steps"] = restaged if decision.restages and not rolling else _steps(state, target, request)
    plan["watched"] = any(step["bake"] > 0 for step in plan["steps"])
    if request.operation == "deploy" and not decision.restages:
        plan["shadow"] = float(request.settings["shadow_percent"])
    return plan


def _decide(state: State, request: Request) -> Decision:
    """Return what the operation comes to. Raises RefusedError."""
    operation = request.operation
    if not request.balancers and not (operation == "deploy" and request.limited):
        raise RefusedError(
            f"no load balancer can be reached ({', '.join(request.away)}), so nothing can go live: bring one back"
        )
    decision = OPERATIONS[operation](state, request)
    if request.limited and (decision.target or operation == "rollback"):
        raise RefusedError(
            f"to {operation} a release needs every host: run playbooks/{operation}.yml without --limit"
        )
    if decision.target and request.away:
        raise RefusedError(
            f"{', '.join(request.away)} can't be reached, and a load balancer that misses a release would go on "
            "sending requests to the containers that it replaces: bring it back, or take it out of load_balancers if "
            "it is gone"
        )
    if operation in ("deploy", "rollback") and not request.limited:
        _withdraw_candidate(state, decision)
    return decision


def _withdraw_candidate(state: State, decision: Decision) -> None:
    """Take the candidate out of the traffic, unless it is what goes live."""
    candidate, target = state["candidate"], decision.target
    if candidate and (target is None or candidate["release"]["id"] != target["id"]):
        decision.baseline["candidate"] = None
        kind = "canary" if candidate["percent"] or not candidate["shadow"] else "shadow"
        decision.note = decision.note or f"the {kind} {candidate['release']['id']} is withdrawn"


def _deploy(state: State, request: Request) -> Decision:
    """Release what this checkout and the inventory say, unless it is live."""
    if request.updates and request.limited:
        raise RefusedError("images are updated on every host: run playbooks/update.yml without --limit")
    baseline = with_updates(copied(state), request.updates)
    decision, wanted, live = Decision(baseline), request.wanted, state["live"]
    assert wanted is not None
    known = [node for node in request.nodes if node in state["nodes"]]
    joining = [node for node in request.nodes if node not in state["nodes"]]
    candidate = state["candidate"]
    if same_content(live, wanted, known):
        _restage(state, request, decision)
    elif request.limited:
        decision.note = (
            f"this checkout would release {wanted['id']}, but a release needs every host: {live['id']} stays live "
            "until site.yml runs without --limit"
            if live
            else "nothing is live yet, and a release needs every host: run site.yml without --limit"
        )
    elif candidate and same_content(candidate["release"], wanted, known):
        decision.target = copied(candidate["release"])
        add_nodes(decision.target, wanted, joining)
    else:
        decision.target = with_unique_id(wanted, state)
    if decision.target is None and decision.baseline["live"]:
        add_nodes(decision.baseline["live"], wanted, joining)
    return decision


def _restage(state: State, request: Request, decision: Decision) -> None:
    """Start the live release anew in the other slots, if there is reason to and every host takes part."""
    if not request.restage:
        return
    reasons = "; ".join(request.restage)
    if request.limited or request.away:
        decision.note = f"{reasons}: this is mended by site.yml without --limit and with every load balancer"
        return
    assert request.wanted is not None
    decision.target, decision.restages = with_new_id(request.wanted, state), True
    decision.note = f"{reasons}: the release is started anew in the other slots"


def _rollback(state: State, request: Request) -> Decision:
    """Go back to the release before, to the one that was asked for, or from a candidate to the live release."""
    decision, wanted = Decision(copied(state)), request.release
    known = {release["id"]: release for release in state["previous"]}
    if not wanted and state["candidate"]:
        return decision  # to go back from a canary is to withdraw it
    if not wanted:
        if not known:
            raise RefusedError("there is no release to go back to: the one that is live is the first")
        decision.target = copied(state["previous"][0])
    elif wanted in known:
        decision.target = copied(known[wanted])
    elif state["live"] and state["live"]["id"] == wanted:
        raise RefusedError(f"release {wanted} is live already")
    else:
        raise RefusedError(
            f"release is {wanted!r}, which is not among those kept ({', '.join(known) or 'there is none'}): choose one "
            "of them, or leave it out to go back by one"
        )
    return decision


def _promote(state: State, request: Request) -> Decision:  # noqa: ARG001  # all operations have the same parameters
    """Give the candidate all the traffic."""
    if not state["candidate"]:
        raise RefusedError("there is no release to promote: no canary and no shadow is under way")
    return Decision(copied(state), state["candidate"]["release"])


def _rotate(state: State, request: Request) -> Decision:
    """Replace certificates, which leaves the traffic as it is."""
    if request.limited:
        raise RefusedError(
            "certificates are replaced on every host or on none: run playbooks/rotate_certificates.yml without --limit"
        )
    return Decision(copied(state))


def _drain(state: State, request: Request) -> Decision:
    """Take a node out of the traffic."""
    decision = _undrain(state, request)
    decision.baseline["drained"] = sorted([*decision.baseline["drained"], request.node])
    return decision


def _undrain(state: State, request: Request) -> Decision:
    """Return a node to the traffic."""
    if request.node not in request.nodes:
        raise RefusedError(
            f"node is {request.node!r}, which is no host of model_nodes ({', '.join(request.nodes)}): -e node=NAME"
        )
    decision = Decision(copied(state))
    decision.baseline["drained"] = sorted({*state["drained"]} - {request.node})
    return decision


def _remove(state: State, request: Request) -> Decision:
    """Take a node out of the fleet, or forget one that has left the inventory."""
    if request.node not in request.nodes:
        return _forget(state, request)
    decision = _undrain(state, request)
    decision.baseline["nodes"].pop(request.node, None)
    candidate = decision.baseline["candidate"]
    if candidate:
        candidate["nodes"] = [node for node in candidate["nodes"] if node != request.node]
    return decision


def _forget(state: State, request: Request) -> Decision:
    """Forget a node that no line of the inventory names. What it has left is removed where that can be reached."""
    left = [entry for entry in state.get("forgotten", []) if entry["node"] == request.node]
    if not left and request.node not in state["nodes"]:
        gone = {*state["nodes"], *(entry["node"] for entry in state.get("forgotten", []))} - {*request.nodes}
        remembered = f" and none that has left it ({', '.join(sorted(gone))})" if gone else ""
        raise RefusedError(
            f"node is {request.node!r}, which is no host of model_nodes ({', '.join(request.nodes)}){remembered}: "
            "-e node=NAME"
        )
    if request.limited:
        raise RefusedError(
            "to forget a node is about every host: run playbooks/remove_node.yml without --limit"
        )
    return Decision(
        copied(state),
        note=f"{request.node} is forgotten: what it left is removed from the machines that this run reaches, and stays "
        "on any other",
    )


OPERATIONS: Mapping[Operation, Callable[[State, Request], Decision]] = {
    "deploy": _deploy,
    "rollback": _rollback,
    "promote": _promote,
    "drain": _drain,
    "undrain": _undrain,
    "remove": _remove,
    "rotate": _rotate,
}


def _steps(state: State, target: Release, request: Request) -> list[Step]:
    """Return the shares of the traffic that the target gets one after another."""
    settings, operation = request.settings, request.operation
    if state["live"] is None or operation == "rollback" or settings["strategy"] == "rolling":
        return [_step(100, 0)]
    bake = settings["bake_seconds"]
    if operation == "promote":
        return [_step(100, bake)]
    if settings["canary_steps"]:
        steps = [_step(step["percent"], step["bake"]) for step in settings["canary_steps"]]
        candidate = state["candidate"]
        if candidate and candidate["release"]["id"] == target["id"]:
            # An interrupted release goes on where it stopped.
            return [step for step in steps if step["percent"] >= candidate["percent"]] or steps[-1:]
        return steps
    if settings["canary_percent"] is not None:
        return [_step(settings["canary_percent"], bake)]
    if float(settings["shadow_percent"]):
        return [_step(0, 0)]
    return [_step(100, bake)]


def _step(percent: float | str, bake: float | str) -> Step:
    """Return a step; the values may be text, as they are from the command line."""
    seconds = float(bake)
    apart = max(1, math.ceil(seconds / POLLS))
    return {
        "percent": float(percent),
        "bake": seconds,
        "polls": math.ceil(seconds / apart),
        "poll_seconds": apart,
    }

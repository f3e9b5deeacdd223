"""Runs on the controller: how a run ended, in a word and in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import is_live
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    Outcome,
    Plan,
    State,
)


def outcome(
    plan: Plan,
    state: State,
    serving: Sequence[str],
    nodes: Sequence[str],
    *,
    decided: str,
    reloaded: bool,
    faults: Sequence[str],
    warnings: Sequence[str] = (),
    watched: Mapping[str, object] | None = None,
    looked: bool = True,
    named: Mapping[str, Sequence[str]] | None = None,
    now: float = 0,
) -> Outcome:
    """Return how a run ended.

    `state` is what the load balancers hold now, `serving` those of `nodes` that take traffic, `decided` the result
    where a step has said it already (failed, returned), `reloaded` whether an Nginx was, `faults` what went wrong,
    `warnings` what will, `watched` how the release did over its last bake, `looked` whether any load balancer was
    inspected, and `named` the nodes that the last line names, by the word for what they have in common.
    """
    live = state["live"]["id"] if state["live"] else ""
    candidate, percent = (
        (state["candidate"]["release"]["id"], state["candidate"]["percent"])
        if state["candidate"]
        else ("", 0)
    )
    said = [
        _live_in_words(live, len(serving), len(nodes)) if looked else "what is live was not looked at",
        _candidate_in_words(state),
        plan["note"],
        *faults,
        *(f"warning: {line}" for line in warnings),
        *(f"{word}: {', '.join(names)}" for word, names in (named or {}).items() if names),
    ]
    return {
        "time": datetime.fromtimestamp(int(now), UTC).isoformat(),
        "result": decided or _result(plan, state, reloaded),
        "message": "; ".join(filter(None, said)),
        "live": live if looked else None,
        "live_slot": state["live_slot"],
        "candidate": candidate,
        "percent": percent,
        "previous": [release["id"] for release in state["previous"]],
        "nodes": state["nodes"],
        "left_out": [name for name, entry in state["nodes"].items() if entry["status"] == "down"],
        "warnings": list(warnings),
        "watched": watched or {},
    }


def _live_in_words(live: str, serving: int, nodes: int) -> str:
    return f"release {live} is live on {serving} of {nodes} nodes" if live else "nothing is live"


def _candidate_in_words(state: State) -> str:
    """Return what the candidate gets; empty without one."""
    if not (candidate := state["candidate"]):
        return ""
    name, percent, shadow = candidate["release"]["id"], candidate["percent"], candidate["shadow"]
    if shadow and not percent:
        return f"{name}, a shadow, gets copies of {shadow} % of the requests"
    return f"{name} gets {percent} % of the requests"


def _result(plan: Plan, state: State, reloaded: bool) -> str:
    """Return the result of a run in which nothing went wrong."""
    if is_live(plan, state):
        return "rolled back" if plan["operation"] == "rollback" else "released"
    if plan["target"] and state["candidate"]:
        return "canary" if state["candidate"]["percent"] else "shadow"
    return "changed" if reloaded or state["serial"] != plan["state"]["serial"] else "unchanged"

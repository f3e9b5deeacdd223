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
    now: float = 0,
) -> Outcome:
    """Return how a run ended.

    `state` is what the load balancers hold now, `serving` those of `nodes` that take traffic, `decided` the result
    where a step has said it already (failed, returned), `reloaded` whether an Nginx was, `faults` what went wrong,
    `warnings` what will, `watched` how the release did over its last bake.
    """
    live = state["live"]["id"] if state["live"] else ""
    candidate, percent = (
        (state["candidate"]["release"]["id"], state["candidate"]["percent"])
        if state["candidate"]
        else ("", 0)
    )
    said = [
        f"release {live} is live on {len(serving)} of {len(nodes)} nodes" if live else "nothing is live",
        f"{candidate} gets {percent} % of the requests" if candidate else "",
        plan["note"],
        *faults,
        *(f"warning: {line}" for line in warnings),
    ]
    return {
        "time": datetime.fromtimestamp(int(now), UTC).isoformat(),
        "result": decided or _result(plan, state, reloaded),
        "message": "; ".join(filter(None, said)),
        "live": live,
        "live_slot": state["live_slot"],
        "candidate": candidate,
        "percent": percent,
        "previous": [release["id"] for release in state["previous"]],
        "nodes": state["nodes"],
        "warnings": list(warnings),
        "watched": watched or {},
    }


def _result(plan: Plan, state: State, reloaded: bool) -> str:
    """Return the result of a run in which nothing went wrong."""
    if is_live(plan, state):
        return "rolled back" if plan["operation"] == "rollback" else "released"
    if plan["target"] and state["candidate"]:
        return "canary" if state["candidate"]["percent"] else "shadow"
    return "changed" if reloaded or state["serial"] != plan["state"]["serial"] else "unchanged"

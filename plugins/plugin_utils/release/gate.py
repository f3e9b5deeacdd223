"""Runs on the controller: whether what was staged may go live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.placement import out_of_scope
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import in_traffic
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import RAMP
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    GateResult,
    HostVars,
    NodeEntry,
    NodeReport,
    Plan,
    ReleaseSettings,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import drained_nodes, machine


def unseen_endpoints(hostvars: HostVars, balancers: Sequence[str], release: str) -> dict[str, dict[str, str]]:
    """Return, by node and load balancer, why a load balancer can't use the node's endpoint of `release`.

    Read from each load balancer's nginx_lb_probe.
    """
    unseen: dict[str, dict[str, str]] = {}
    for balancer in balancers:
        for node, found in hostvars[balancer].get("nginx_lb_probe", {}).get("endpoints", {}).items():
            if not found["ready"]:
                unseen.setdefault(node, {})[balancer] = found["error"] or "it says that it is not ready"
            elif found["release"] != release:
                unseen.setdefault(node, {})[balancer] = (
                    f"it answers as release {found['release']}, not {release}"
                )
    return unseen


def node_reports(
    hostvars: HostVars,
    plan: Plan,
    nodes: Sequence[str],
    present: Sequence[str],
    in_scope: Sequence[str],
    answering: Sequence[str],
    unseen: Mapping[str, Mapping[str, str]],
) -> dict[str, NodeReport]:
    """Return what the gate wants to know of each of `nodes`.

    `in_scope` are the hosts that the run is about, `present` those of them that have neither failed nor become
    unreachable so far, `answering` the suspects that could be reached when asked again.
    """
    facts = {node: hostvars[node] for node in nodes}
    drained = set(drained_nodes(facts, nodes, plan["baseline"]))
    here, about = set(present), set(in_scope)
    removed = plan["node"] if plan["operation"] == "remove" else ""
    suspects = {node for node in nodes if node not in here or node in unseen}
    return {
        node: {
            "in_scope": node in about and not out_of_scope(plan, node),
            "answers": node not in suspects or node in answering,
            "failed": node not in here,
            "staged": facts[node].get("model_endpoint_staged"),
            "unseen": unseen.get(node, {}),
            "drained": node in drained or node == removed,
            "machine": machine(facts, node),
        }
        for node in nodes
    }


def gate(plan: Plan, reports: Mapping[str, NodeReport], settings: ReleaseSettings, now: float) -> GateResult:
    """Judge whether the traffic may change, and return who gets it then. `reports` are by host of model_nodes."""
    before = plan["baseline"]["nodes"]
    in_scope = [node for node, report in reports.items() if report["in_scope"]]
    reasons = {node: _reason(reports[node]) for node in in_scope}
    any_up = any(entry["status"] == "up" for entry in before.values())
    ramps = any_up and not plan["target"] and settings["ramp_seconds"] > 0
    entries: dict[str, NodeEntry] = {}
    for node in reports:
        if node not in reasons:
            if node in before:
                entries[node] = before[node]
        elif reasons[node]:
            entries[node] = _entry_down(before.get(node), reasons[node], now)
        else:
            entries[node] = _entry_up(before.get(node), RAMP[0] if ramps else 100, now)
    errors = [f"{node}: {reasons[node]}" for node in in_scope if reasons[node] and reports[node]["answers"]]
    too_few = _too_few(plan, reports, entries, settings["min_nodes"])
    return {
        # Without a release to stage, a node that is not right is left out, and the others follow the inventory.
        "passed": not too_few and not (plan["target"] and errors),
        "errors": [*errors, too_few] if too_few else errors,
        "left_out": {node: reasons[node].splitlines()[0] for node in in_scope if reasons[node]},
        "members": [node for node in in_scope if not reasons[node]],
        "machines": {node: reports[node]["machine"] for node in in_scope if not reasons[node]},
        "nodes": entries,
    }


def _reason(report: NodeReport) -> str:
    """Return why a node can't take traffic; empty when it can."""
    if not report["answers"]:
        return "it can't be reached"
    staged = report["staged"]
    if staged and not staged["ready"]:
        log = "\n".join(f"    {line}" for line in staged["log"])
        return f"{staged['reason']}\n  Its last log lines:\n{log}" if log else staged["reason"]
    if report["failed"]:
        return "a step before this one failed on it; its message is above"
    return unseen_reason(report["unseen"])


def unseen_reason(unseen: Mapping[str, str]) -> str:
    """Return, for the user, why load balancers can't use an endpoint; empty when they can."""
    return "; ".join(f"{balancer} can't use it: {why}" for balancer, why in unseen.items())


def _entry_down(before: NodeEntry | None, reason: str, now: float) -> NodeEntry:
    """Return the entry of a node that can't take traffic; since when and why stays as it is for a node that is down."""
    if before and before["status"] == "down":
        return before
    return {"status": "down", "share": 100, "since": int(now), "reason": reason.splitlines()[0]}


def _entry_up(before: NodeEntry | None, first_share: int, now: float) -> NodeEntry:
    """Return the entry of a node that takes traffic; a node that joins begins with `first_share`."""
    if before and before["status"] == "up":
        return before
    return {"status": "up", "share": first_share, "since": int(now), "reason": ""}


def _too_few(
    plan: Plan, reports: Mapping[str, NodeReport], entries: Mapping[str, NodeEntry], least: int
) -> str:
    """Return that too few endpoints would take traffic, or an empty text."""
    serving = {
        node for node, entry in entries.items() if entry["status"] == "up" and not reports[node]["drained"]
    }
    if plan["rolling"]:
        # One node after another leaves the traffic, and those that join are no help until it is their turn.
        serving &= in_traffic(plan["baseline"])
    number = len(serving) - plan["rolling"]
    if number >= least:
        return ""
    return (
        f"{number} of {len(reports)} endpoints would take traffic, and release_min_nodes is {least}: bring nodes back, "
        "or lower it"
    )

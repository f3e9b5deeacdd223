"""Runs on the controller: the steps that judge what was staged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.gate import (
    gate,
    node_reports,
    unseen_endpoints,
    unseen_reason,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import published_addresses
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import numbered
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import (
    facts_of,
    plan_of,
    present_balancers,
    release_settings_of,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import next_state
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    GateResult,
    HostVars,
    Ping,
    Staged,
    State,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    EndpointAddress,
    drained_nodes,
    read_once,
)

UNREADY: Staged = {"ready": False, "reason": "", "log": []}
"""Stands for what was not staged."""


class ProbeStep(TypedDict):
    """The state that the load balancers would get, and the endpoints that each of them is to probe before."""

    state: State
    staged: list[EndpointAddress]
    """Those that were started in this run, to be probed in any case."""
    serving: list[EndpointAddress]
    """All that would take traffic, to be probed where the configuration would differ from what is served."""


def probe_step(
    hostvars: HostVars, groups: Groups, in_scope: Sequence[str], present: Sequence[str], now: float
) -> ProbeStep | None:
    """Return what to probe from the load balancers before the traffic changes; None where it can't change.

    The state is the one that follows if every endpoint can be used. A rolling release probes each node in its turn.
    """
    facts, nodes = facts_of(hostvars, present), groups["model_nodes"]
    plan = facts["release_plan"]
    if plan["rolling"] or not (plan["target"] or plan["baseline"]["live"]):
        return None
    settings, hostvars = release_settings_of(hostvars, groups), read_once(hostvars, nodes)
    gated = gate(plan, node_reports(hostvars, plan, nodes, present, in_scope, [], {}), settings, now)
    if not gated["passed"]:
        return None
    state = numbered(
        next_state(plan, gated, plan["steps"][0]["percent"] if plan["target"] else None, now),
        facts["release_state"],
    )
    release = plan["target"] or plan["baseline"]["live"]
    slot = plan["target_slot"] if plan["target"] else plan["baseline"]["live_slot"]
    staged = [node for node in nodes if (hostvars[node].get("model_endpoint_staged") or UNREADY)["ready"]]
    serving = staged if plan["target"] else [*staged, *_serving(hostvars, nodes, state)]
    return {
        "state": state,
        "staged": published_addresses(hostvars, release, staged, slot),
        "serving": published_addresses(hostvars, release, dict.fromkeys(serving), slot),
    }


def _serving(hostvars: HostVars, nodes: Sequence[str], state: State) -> list[str]:
    """Return those of `nodes` whose live endpoints take traffic."""
    drained = set(drained_nodes(hostvars, nodes, state))
    up = {node for node, entry in state["nodes"].items() if entry["status"] == "up"}
    return [node for node in nodes if node in up - drained]


def probed_endpoint(
    hostvars: HostVars, groups: Groups, present: Sequence[str], node: str, release: str, staged: Staged
) -> Staged:
    """Return how the staging of `node`'s endpoint ended, `staged`, once the load balancers have probed it too."""
    balancers = present_balancers(hostvars, groups, present)
    unseen = unseen_endpoints(hostvars, balancers, release).get(node, {})
    if not unseen:
        return staged
    return {**staged, "ready": False, "reason": unseen_reason(unseen)}


def suspects_step(
    hostvars: HostVars, groups: Groups, in_scope: Sequence[str], present: Sequence[str]
) -> list[str]:
    """Return the nodes that dropped out of the run, or that a load balancer can't use, to be reached for once more."""
    about, here = set(in_scope), set(present)
    unseen = _unseen(hostvars, groups, present)
    return [node for node in groups["model_nodes"] if node in about and (node not in here or node in unseen)]


def gate_step(
    hostvars: HostVars,
    groups: Groups,
    in_scope: Sequence[str],
    present: Sequence[str],
    pings: Sequence[Ping],
    now: float,
) -> GateResult:
    """Judge what was staged. `pings` are the results of reaching for the suspects."""
    plan, nodes = plan_of(hostvars, present), groups["model_nodes"]
    answering = [ping["item"] for ping in pings if not ping.get("unreachable")]
    unseen = _unseen(hostvars, groups, present)
    reports = node_reports(hostvars, plan, nodes, present, in_scope, answering, unseen)
    return gate(plan, reports, release_settings_of(hostvars, groups), now)


def _unseen(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return, by node and load balancer, why a load balancer can't use what was staged."""
    plan, balancers = plan_of(hostvars, present), present_balancers(hostvars, groups, present)
    staged = plan["target"] or plan["baseline"]["live"]
    return unseen_endpoints(hostvars, balancers, staged["id"] if staged else "")

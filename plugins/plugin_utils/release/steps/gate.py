"""Runs on the controller: the steps that judge what was staged."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.gate import (
    gate,
    node_reports,
    unseen_endpoints,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import (
    plan_of,
    present_balancers,
    release_settings_of,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import GateResult, HostVars, Ping
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    EndpointAddress,
    endpoint_addresses,
)


def probe_step(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> list[EndpointAddress]:
    """Return the addresses of the endpoints that were staged and are ready, for each load balancer to probe."""
    plan = plan_of(hostvars, present)
    staged = {host: hostvars[host].get("model_endpoint_staged") for host in groups["model_nodes"]}
    ready = [host for host, found in staged.items() if found and found["ready"]]
    slot = plan["target_slot"] if plan["target"] else plan["baseline"]["live_slot"]
    return endpoint_addresses(ready, hostvars, slot)


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

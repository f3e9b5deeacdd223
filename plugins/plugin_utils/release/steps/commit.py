"""Runs on the controller: the steps that end a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.certificates import (
    certificate_warnings,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.leftovers import (
    Leftover,
    leftovers,
    without_forgotten,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.outcome import outcome
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.placement import retired_slots
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import published_addresses
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import (
    forgotten_nodes,
    gets_traffic,
    is_live,
    numbered,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import (
    facts_of,
    present_balancers,
    release_settings_of,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    Facts,
    HostVars,
    Outcome,
    Plan,
    State,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    EndpointAddress,
    drained_nodes,
    fleet_hosts,
    monitoring_host,
)


class RetiredSlot(TypedDict):
    """The slot of a node whose container must stop."""

    node: str
    slot: str


class CommitStep(TypedDict):
    """What takes no more traffic: containers to stop, endpoints that may still answer requests, and leftovers."""

    retired: list[RetiredSlot]
    draining: list[EndpointAddress]
    leftovers: list[Leftover]
    forget: list[str]
    """The load balancers, where their state names nodes that may be forgotten now."""


class FinishStep(TypedDict):
    """How the run ends: the verdict, the line of the audit log (None where nothing changed), what went wrong."""

    verdict: Outcome
    audit: dict[str, str] | None
    faults: list[str]
    forgiving: bool
    """Whether hosts that were unreachable are forgiven, so that the run does not end with Ansible's code 4."""


def commit_step(
    hostvars: HostVars, groups: Groups, present: Sequence[str], push_endpoint: str = ""
) -> CommitStep:
    """Return what takes no more traffic, and what is to be removed.

    `push_endpoint` is where the builder pushes images.
    """
    facts, here = facts_of(hostvars, present), set(present)
    plan, state, nodes = facts["release_plan"], facts["release_state"], groups["model_nodes"]
    if facts["release_failure"]:
        return {"retired": [], "draining": [], "leftovers": [], "forget": []}
    retired: dict[str, str] = {}
    left: list[Leftover] = []
    # A load balancer that is away may still send requests to any container.
    if all(balancer in here for balancer in groups["load_balancers"]):
        retired = retired_slots(plan, state, hostvars, [node for node in nodes if node in here])
        left = leftovers(hostvars, groups, present, plan, state, push_endpoint)
    return {
        "retired": [{"node": node, "slot": slot} for node, slot in retired.items()],
        "draining": _draining(plan, state, hostvars, nodes),
        "leftovers": left,
        "forget": present_balancers(hostvars, groups, present) if _may_forget(plan, state) else [],
    }


def _may_forget(plan: Plan, state: State) -> bool:
    """Tell whether the run may take forgotten nodes out of the state."""
    return bool(state.get("forgotten")) and not plan["limited"]


def forget_step(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> State | None:
    """Return the state without the nodes of which nothing is left, or that are to be forgotten; None where none is."""
    facts = facts_of(hostvars, present)
    plan, state = facts["release_plan"], facts["release_state"]
    if facts["release_failure"] or not _may_forget(plan, state):
        return None
    told = plan["node"] if plan["operation"] == "remove" else ""
    after = numbered(without_forgotten(hostvars, groups, present, state, told), state)
    return None if after == state else after


def _draining(plan: Plan, state: State, hostvars: HostVars, nodes: Sequence[str]) -> list[EndpointAddress]:
    """Return the endpoints that took traffic until now: of the release before, or of nodes that are taken out."""
    before, live = plan["baseline"], plan["state"]["live"]
    up = [node for node, entry in before["nodes"].items() if entry["status"] == "up"]
    if plan["target"]:
        leaving = up if not plan["first"] and is_live(plan, state) else []
    else:
        leaving = drained_nodes(hostvars, nodes, state) + [node for node in up if node not in state["nodes"]]
        leaving += [plan["node"]] if plan["operation"] == "remove" and plan["node"] in nodes else []
    return published_addresses(hostvars, live, leaving, plan["state"]["live_slot"])


def finish_step(hostvars: HostVars, groups: Groups, present: Sequence[str], now: float) -> FinishStep:
    """Return how the run ends."""
    facts, balancers = facts_of(hostvars, present), present_balancers(hostvars, groups, present)
    plan, state, nodes = facts["release_plan"], facts["release_state"], groups["model_nodes"]
    drained = drained_nodes(hostvars, nodes, state)
    up = {name for name, entry in state["nodes"].items() if entry["status"] == "up"}
    faults = _faults(hostvars, groups, facts)
    verdict = outcome(
        plan,
        state,
        [node for node in nodes if node in up and node not in drained],
        nodes,
        decided=_decided(facts),
        reloaded=any(hostvars[host].get("nginx_lb_installed", {}).get("changed") for host in balancers),
        faults=faults,
        warnings=[
            *forgotten_nodes(state),
            *certificate_warnings(hostvars, groups["load_balancers"], now),
        ],
        watched=hostvars[balancers[0]].get("release_watched") if balancers else None,
        looked=facts.get("release_looked", True),
        named={"drained": drained},
        now=now,
    )
    audit = {name: str(verdict[name] or "") for name in ("time", "result", "live", "message")}
    if verdict["left_out"]:
        audit["message"] += f"; left out: {', '.join(verdict['left_out'])}"
    audit |= {"node": plan["node"]} if plan["node"] else {}
    gone_for_good = plan["operation"] == "remove" and not facts["release_gate"].get("left_out")
    forgiving = release_settings_of(hostvars, groups)["allow_unreachable"] or bool(faults) or gone_for_good
    return {
        "verdict": verdict,
        "audit": None if verdict["result"] == "unchanged" else audit,
        "faults": faults,
        "forgiving": forgiving,
    }


def _decided(facts: Facts) -> str:
    """Return the result of a run in which something went wrong, else an empty text."""
    if not facts["release_failure"]:
        return ""
    if facts["release_plan"]["error"]:
        return "refused"
    undone = facts.get("release_undone") is not None and facts["release_gate"].get("passed", False)
    tried = undone or facts["release_result"] == "returned"
    returned = tried and not gets_traffic(facts["release_plan"], facts["release_state"])
    return "returned" if returned else "failed"


def _faults(hostvars: HostVars, groups: Groups, facts: Facts) -> list[str]:
    """Return what went wrong in the run."""
    first = (
        [facts["release_failure"]] if facts["release_failure"] else facts["release_gate"].get("errors", [])
    )
    left = [hostvars[node].get("release_not_stopped", "") for node in groups["model_nodes"]]
    left += [hostvars[host].get("release_not_removed", "") for host in fleet_hosts(groups)]
    left += [hostvars[host].get("virtual_address_error", "") for host in groups["load_balancers"]]
    if monitoring_host(groups):
        left += [hostvars[host].get("node_exporter_error", "") for host in fleet_hosts(groups)]
        left += [hostvars[host].get("monitoring_error", "") for host in fleet_hosts(groups)]
        left += [hostvars[host].get("fleet_page_error", "") for host in fleet_hosts(groups)]
    return [*first, *filter(None, left)]

"""Runs on the controller: the steps of a release, one function each, as playbooks and unit tests call them.

Every step takes what Ansible knows: the hosts' variables, the groups of the inventory, the hosts that the play is about
(`in_scope`) and those of them that have neither failed nor become unreachable (`present`). The facts of the run, such
as release_plan and release_state, are read from the first host that is present, since each play sees to it that all its
hosts have the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import (
    container_settings,
    new_release,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.gate import (
    gate,
    node_reports,
    unseen_endpoints,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.outcome import outcome
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.placement import (
    retired_slots,
    step_hosts,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.plan import Request, release_plan
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import (
    EMPTY_STATE,
    NewerStateError,
    gets_traffic,
    is_live,
    latest_state,
    numbered,
    serves_state,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import (
    RAMP,
    next_state,
    ramp_left,
    ramped,
    rolling_state,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    Facts,
    GateResult,
    HostVars,
    Operation,
    Outcome,
    Plan,
    Release,
    ReleaseSettings,
    State,
    StepHost,
    Watched,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, settings_of
from ansible_collections.flotilla.fleet.plugins.plugin_utils.status import certificate_warnings
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    EndpointAddress,
    drained_nodes,
    endpoint_addresses,
    fleet_hosts,
    standby_first,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.watch import Limits, Sample, judge, merge_samples


class Asked(TypedDict):
    """What the command line and the checkout say of a run."""

    operation: Operation
    node: str
    """The extra variable node."""
    release: str
    """The extra variable release."""
    image: str
    """For deploy, the hash of what the image is built from."""
    recipe: str
    """A hash of the tasks that run an endpoint's container."""
    state_elsewhere: str
    """The state file of the first load balancer, where the run is about no load balancer; else empty."""


class PlanStep(TypedDict):
    """What the run found and is to do."""

    refusal: str
    """Why the run must not go on at all, or empty."""
    state: State
    plan: Plan
    shown: list[str]
    """Lines for the user."""
    hosts: list[StepHost]


class Synced(TypedDict):
    """What the load balancers know of the run."""

    state: State
    failure: str
    result: str


class RampStep(TypedDict):
    """The next raise of the shares of nodes that have joined, and how many seconds to wait before."""

    state: State
    seconds: int


class RetiredSlot(TypedDict):
    """The slot of a node whose container must stop."""

    node: str
    slot: str


class CommitStep(TypedDict):
    """What takes no more traffic: containers to stop, and endpoints that may still answer requests."""

    retired: list[RetiredSlot]
    draining: list[EndpointAddress]


class FinishStep(TypedDict):
    """How the run ends: the verdict, the line of the audit log (None where nothing changed), what went wrong."""

    verdict: Outcome
    audit: dict[str, str] | None
    faults: list[str]
    forgiving: bool
    """Whether hosts that were unreachable are forgiven, so that the run does not end with Ansible's code 4."""


def present_balancers(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> list[str]:
    """Return the load balancers that are present, in the order in which a run changes them."""
    here = set(present)
    return standby_first([host for host in groups["load_balancers"] if host in here], hostvars)


def release_settings_of(hostvars: HostVars, groups: Groups) -> ReleaseSettings:
    """Return the settings of role release, which are the first load balancer's."""
    return cast("ReleaseSettings", settings_of(hostvars, groups["load_balancers"][0], "release"))


def found_state(
    hostvars: HostVars, groups: Groups, present: Sequence[str], state_elsewhere: Mapping[str, Any] | None = None
) -> State:
    """Return the state that was written last, of those found on the load balancers that are present.

    `state_elsewhere` is the state of the first load balancer, where the run is not about load balancers.

    Raises:
        NewerStateError: when a state has a newer format than this code knows.
    """
    balancers = present_balancers(hostvars, groups, present)
    states: dict[str, Mapping[str, Any] | None] = {groups["load_balancers"][0]: state_elsewhere}
    states |= {balancer: hostvars[balancer]["flotilla_machine"].get("state") for balancer in balancers}
    return latest_state(states)


def plan_step(
    hostvars: HostVars,
    groups: Groups,
    in_scope: Sequence[str],
    present: Sequence[str],
    asked: Asked,
    now: float,
) -> PlanStep:
    """Plan the run: read the state that the load balancers hold, and decide what to do."""
    nodes, about = groups["model_nodes"], set(in_scope)
    balancers = present_balancers(hostvars, groups, present)
    refusal, state = "", EMPTY_STATE
    try:
        elsewhere = json.loads(asked["state_elsewhere"] or "null")
        state = found_state(hostvars, groups, present, elsewhere)
    except NewerStateError as error:
        refusal = str(error)
    wanted: Release | None = None
    if asked["operation"] == "deploy":
        wanted = new_release(asked["image"], container_settings(hostvars, nodes, asked["recipe"]), now)
    request = Request(
        operation=asked["operation"],
        nodes=nodes,
        balancers=balancers,
        away=[host for host in groups["load_balancers"] if host in about and host not in balancers],
        limited=any(host not in about for host in fleet_hosts(groups)),
        settings=release_settings_of(hostvars, groups),
        wanted=wanted,
        release=asked["release"],
        node=asked["node"],
    )
    plan = release_plan(state, request)
    return {
        "refusal": refusal,
        "state": state,
        "plan": plan,
        "shown": _shown(plan, nodes),
        "hosts": step_hosts(plan, hostvars, nodes, present),
    }


def _shown(plan: Plan, nodes: Sequence[str]) -> list[str]:
    """Return what the user is told of the plan."""
    lines = [plan["note"]]
    if plan["target"]:
        target, live = plan["target"]["id"], plan["state"]["live"]
        lines.append(f"release {target} goes live on {', '.join(nodes)} in the {plan['target_slot']} slots")
        lines.append(f"live until then is {live['id']}" if live else "")
    return [line for line in lines if line]


def baseline_step(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> State | None:
    """Return the state to apply before any container is touched; None where the load balancers serve the baseline.

    They do not where a canary is to be withdrawn, or where a run was interrupted.
    """
    plan, state = _plan(hostvars, present), _state(hostvars, present)
    machines = [
        hostvars[host]["flotilla_machine"] for host in present_balancers(hostvars, groups, present)
    ]
    if plan["first"] or (
        plan["baseline"] == plan["state"]
        and all(
            serves_state(plan["state"], machine.get("state"), machine.get("served", ""))
            for machine in machines
        )
    ):
        return None
    return numbered(plan["baseline"], state)


def with_reference(plan: Plan, reference: str) -> Plan:
    """Return the plan with its target's image named by digest, now that the registry has the image."""
    assert plan["target"] is not None
    return {**plan, "target": {**plan["target"], "reference": reference}}


def probe_step(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> list[EndpointAddress]:
    """Return the addresses of the endpoints that were staged and are ready, for each load balancer to probe."""
    plan = _plan(hostvars, present)
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


def _unseen(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return, by node and load balancer, why a load balancer can't use what was staged."""
    plan, balancers = _plan(hostvars, present), present_balancers(hostvars, groups, present)
    staged = plan["target"] or plan["baseline"]["live"]
    return unseen_endpoints(hostvars, balancers, staged["id"] if staged else "")


def gate_step(
    hostvars: HostVars,
    groups: Groups,
    in_scope: Sequence[str],
    present: Sequence[str],
    pings: Sequence[Mapping[str, Any]],
    now: float,
) -> GateResult:
    """Judge what was staged. `pings` are the results of reaching for the suspects."""
    plan, nodes = _plan(hostvars, present), groups["model_nodes"]
    answering = [str(ping["item"]) for ping in pings if not ping.get("unreachable")]
    unseen = _unseen(hostvars, groups, present)
    reports = node_reports(hostvars, plan, nodes, present, in_scope, answering, unseen)
    return gate(plan, reports, release_settings_of(hostvars, groups), now)


def share_step(hostvars: HostVars, present: Sequence[str], number: int, now: float) -> State:
    """Return the state that gives the target the share of the plan's step `number`.

    Without a target, that is the state which follows the inventory and the gate.
    """
    plan, state = _plan(hostvars, present), _state(hostvars, present)
    percent = plan["steps"][number]["percent"] if plan["target"] else None
    return numbered(next_state(plan, _facts(hostvars, present)["release_gate"], percent, now), state)


def rolling_step(
    hostvars: HostVars, present: Sequence[str], done: Sequence[str], replacing: str, now: float
) -> State:
    """Return the state while a rolling release has replaced `done`, and the node `replacing` (or "") is out of it."""
    facts = _facts(hostvars, present)
    half_way = rolling_state(facts["release_plan"], facts["release_gate"], hostvars, done, replacing, now)
    return numbered(half_way, facts["release_state"])


def ramp_step(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> RampStep:
    """Return the next raise of the shares of nodes that have joined."""
    state = _state(hostvars, present)
    seconds = math.ceil(release_settings_of(hostvars, groups)["ramp_seconds"] / len(RAMP))
    return {"state": numbered(ramped(state), state), "seconds": seconds}


def samples_of(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> Sample:
    """Return what the load balancers' access logs said when they were read last, as one sample."""
    balancers = present_balancers(hostvars, groups, present)
    return merge_samples(hostvars[balancer]["release_access_log"]["sample"] for balancer in balancers)


def judge_step(hostvars: HostVars, groups: Groups, present: Sequence[str], number: int) -> Watched:
    """Judge the target by the access logs that have just been read, at the share of the plan's step `number`."""
    facts, settings = _facts(hostvars, present), release_settings_of(hostvars, groups)
    plan = facts["release_plan"]
    assert plan["target"] is not None
    percent = plan["steps"][number]["percent"]
    limits: Limits = {
        "min_requests": settings["watch_min_requests"],
        "failure_points": settings["watch_failure_points"],
        "p95_factor": settings["watch_p95_factor"],
        "p95_floor": settings["watch_p95_floor"],
    }
    # Once the release has all the traffic, the one before is judged by what it did until then.
    before = facts.get("release_sample_before") if percent >= 100 else None
    sample = samples_of(hostvars, groups, present)
    found = judge([sample], limits, plan["baseline"]["live_slot"], plan["target_slot"], before)
    fails = found["verdict"] == "worse" or (
        found["verdict"] == "too few" and settings["watch_too_few"] == "return"
    )
    failure = f"release {plan['target']['id']} at {percent:g} %: {found['reason']}" if fails else ""
    return {**found, "failure": failure}


def undo_step(hostvars: HostVars, present: Sequence[str], now: float) -> State | None:
    """Return the state that takes the target out of the traffic; None where the target gets no traffic."""
    facts = _facts(hostvars, present)
    plan, state, gated = facts["release_plan"], facts["release_state"], facts["release_gate"]
    if not plan["target"] or not gets_traffic(plan, state):
        return None
    if gated.get("passed"):
        return numbered(next_state(plan, gated, None, now), state)
    return numbered({**plan["baseline"], "candidate": None}, state)


def sync_step(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> Synced:
    """Return what the load balancers know of the run, for the other hosts to know as well.

    Without a load balancer the hosts go on with what they know.
    """
    balancers = present_balancers(hostvars, groups, present)
    facts = hostvars[balancers[0] if balancers else present[0]]
    failures = [hostvars[host]["release_failure"] for host in balancers or present[:1]]
    return {
        "state": facts["release_state"],
        "failure": next(filter(None, failures), ""),
        "result": facts["release_result"],
    }


def apply_errors(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> list[str]:
    """Return why load balancers have not taken the state that is being applied."""
    balancers = present_balancers(hostvars, groups, present)
    return [error for host in balancers if (error := hostvars[host].get("release_apply_error", ""))]


def rotate_step(groups: Groups, present: Sequence[str]) -> str:
    """Return why a rotation of certificates must stop after this step; empty when every host has its certificates."""
    missing = [host for host in fleet_hosts(groups) if host not in set(present)]
    if not missing:
        return ""
    return (
        f"{', '.join(missing)}: not every host could be given its certificates. The previous certificates stay trusted "
        "until this is fixed: bring back what can't be reached, or take it out of the inventory, and run "
        "playbooks/rotate_certificates.yml again."
    )


def commit_step(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> CommitStep:
    """Return which containers take no more traffic, and which endpoints may still answer requests."""
    facts, here = _facts(hostvars, present), set(present)
    plan, state, nodes = facts["release_plan"], facts["release_state"], groups["model_nodes"]
    if facts["release_failure"]:
        return {"retired": [], "draining": []}
    retired: dict[str, str] = {}
    # A load balancer that is away may still send requests to any container.
    if all(balancer in here for balancer in groups["load_balancers"]):
        retired = retired_slots(plan, state, hostvars, [node for node in nodes if node in here])
    return {
        "retired": [{"node": node, "slot": slot} for node, slot in retired.items()],
        "draining": _draining(plan, state, hostvars, nodes),
    }


def _draining(
    plan: Plan, state: State, hostvars: HostVars, nodes: Sequence[str]
) -> list[EndpointAddress]:
    """Return the endpoints that took traffic until now: of the release before, or of nodes that are taken out."""
    if plan["target"]:
        before = plan["baseline"]["nodes"] if not plan["first"] and is_live(plan, state) else {}
        leaving = [node for node in nodes if node in before and before[node]["status"] == "up"]
        return endpoint_addresses(leaving, hostvars, plan["state"]["live_slot"])
    if not state["live"]:
        return []
    leaving = drained_nodes(hostvars, nodes, state) + (
        [plan["node"]] if plan["operation"] == "remove" else []
    )
    return endpoint_addresses(leaving, hostvars, state["live_slot"])


def finish_step(hostvars: HostVars, groups: Groups, present: Sequence[str], now: float) -> FinishStep:
    """Return how the run ends."""
    facts, balancers = _facts(hostvars, present), present_balancers(hostvars, groups, present)
    plan, state, nodes = facts["release_plan"], facts["release_state"], groups["model_nodes"]
    drained = set(drained_nodes(hostvars, nodes, state))
    faults = _faults(hostvars, groups, facts)
    verdict = outcome(
        plan,
        state,
        [name for name, entry in state["nodes"].items() if entry["status"] == "up" and name not in drained],
        nodes,
        decided=facts["release_result"] or ("failed" if facts["release_failure"] else ""),
        reloaded=any(hostvars[host].get("nginx_lb_installed", {}).get("changed") for host in balancers),
        faults=faults,
        warnings=certificate_warnings(hostvars, groups["load_balancers"], now),
        watched=hostvars[balancers[0]].get("release_watched") if balancers else None,
        now=now,
    )
    audit = {name: str(verdict[name]) for name in ("time", "result", "live", "message")}
    gone_for_good = plan["operation"] == "remove" and not facts["release_gate"].get("left_out")
    forgiving = release_settings_of(hostvars, groups)["allow_unreachable"] or bool(faults) or gone_for_good
    return {
        "verdict": verdict,
        "audit": None if verdict["result"] == "unchanged" else audit,
        "faults": faults,
        "forgiving": forgiving,
    }


def _faults(hostvars: HostVars, groups: Groups, facts: Facts) -> list[str]:
    """Return what went wrong in the run."""
    first = [facts["release_failure"]] if facts["release_failure"] else facts["release_gate"].get("errors", [])
    left = [hostvars[node].get("release_not_stopped", "") for node in groups["model_nodes"]]
    left += [hostvars[host].get("virtual_address_error", "") for host in groups["load_balancers"]]
    return [*first, *filter(None, left)]


def _facts(hostvars: HostVars, present: Sequence[str]) -> Facts:
    """Return the facts of the run."""
    return hostvars[present[0]]


def _plan(hostvars: HostVars, present: Sequence[str]) -> Plan:
    """Return the plan of the run."""
    return _facts(hostvars, present)["release_plan"]


def _state(hostvars: HostVars, present: Sequence[str]) -> State:
    """Return the state that the run has brought about so far."""
    return _facts(hostvars, present)["release_state"]

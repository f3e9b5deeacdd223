"""Runs on the controller: the steps that change the traffic, and take changes back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import gets_traffic, numbered
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import (
    facts_of,
    plan_of,
    present_balancers,
    release_settings_of,
    state_of,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import (
    RAMP,
    next_state,
    ramped,
    rolling_state,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars, State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import fleet_hosts


class RampStep(TypedDict):
    """The next raise of the shares of nodes that have joined, and how many seconds to wait before."""

    state: State
    seconds: int


class Synced(TypedDict):
    """What the load balancers know of the run."""

    state: State
    failure: str
    result: str


def share_step(hostvars: HostVars, present: Sequence[str], number: int, now: float) -> State:
    """Return the state that gives the target the share of the plan's step `number`.

    Without a target, that is the state which follows the inventory and the gate.
    """
    plan, state = plan_of(hostvars, present), state_of(hostvars, present)
    percent = plan["steps"][number]["percent"] if plan["target"] else None
    return numbered(next_state(plan, facts_of(hostvars, present)["release_gate"], percent, now), state)


def rolling_step(
    hostvars: HostVars, present: Sequence[str], done: Sequence[str], replacing: str, now: float
) -> State:
    """Return the state while a rolling release has replaced `done`, and the node `replacing` (or "") is out of it."""
    facts = facts_of(hostvars, present)
    half_way = rolling_state(facts["release_plan"], facts["release_gate"], hostvars, done, replacing, now)
    return numbered(half_way, facts["release_state"])


def ramp_step(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> RampStep:
    """Return the next raise of the shares of nodes that have joined."""
    state = state_of(hostvars, present)
    seconds = math.ceil(release_settings_of(hostvars, groups)["ramp_seconds"] / len(RAMP))
    return {"state": numbered(ramped(state), state), "seconds": seconds}


def undo_step(hostvars: HostVars, present: Sequence[str], now: float) -> State | None:
    """Return the state that takes the target out of the traffic; None where the target gets no traffic."""
    facts = facts_of(hostvars, present)
    plan, state, gated = facts["release_plan"], facts["release_state"], facts["release_gate"]
    if not plan["target"] or not gets_traffic(plan, state):
        return None
    if gated.get("passed"):
        if plan["rolling"]:  # role rolling has its own way back; the nodes' live containers are gone
            return None
        return numbered(next_state(plan, gated, None, now), state)
    return numbered({**plan["baseline"], "candidate": None}, state)


def apply_errors(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> list[str]:
    """Return why load balancers have not taken the state that is being applied."""
    balancers = present_balancers(hostvars, groups, present)
    return [error for host in balancers if (error := hostvars[host].get("release_apply_error", ""))]


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

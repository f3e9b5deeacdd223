"""Runs on the controller: what the steps of a release know, read from what Ansible knows.

Every step takes the hosts' variables, the groups of the inventory, the hosts that the play is about (`in_scope`) and
those of them that have neither failed nor become unreachable (`present`). The facts of the run, such as release_plan
and release_state, are read from the first host that is present, since all hosts of a play have the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import latest_state
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    Facts,
    HostVars,
    Plan,
    ReleaseSettings,
    State,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, settings_of
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import standby_first


def present_balancers(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> list[str]:
    """Return the load balancers that are present, in the order in which a run changes them."""
    here = set(present)
    return standby_first([host for host in groups["load_balancers"] if host in here], hostvars)


def release_settings_of(hostvars: HostVars, groups: Groups) -> ReleaseSettings:
    """Return the settings of role release, which are the first load balancer's."""
    return cast("ReleaseSettings", settings_of(hostvars, groups["load_balancers"][0], "release"))


def found_state(
    hostvars: HostVars,
    groups: Groups,
    present: Sequence[str],
    state_elsewhere: Mapping[str, Any] | None = None,
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


def facts_of(hostvars: HostVars, present: Sequence[str]) -> Facts:
    """Return the facts of the run."""
    return hostvars[present[0]]


def plan_of(hostvars: HostVars, present: Sequence[str]) -> Plan:
    """Return the plan of the run."""
    return facts_of(hostvars, present)["release_plan"]


def state_of(hostvars: HostVars, present: Sequence[str]) -> State:
    """Return the state that the run has brought about so far."""
    return facts_of(hostvars, present)["release_state"]

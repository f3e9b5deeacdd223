"""Runs on the controller: compares what the inventory and the state want with what was found, kind by kind.

This is the one comparison: site.yml acts on its kinds, --check makes sentences of it, and status shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.certificates import (
    certificate_differences,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.containers import (
    service_differences,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.endpoints import endpoint_differences
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.files import file_differences
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.firewall import guard_differences
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.health import health_differences
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.images import image_differences
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.lock import lock_differences
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.machines import (
    clock_differences,
    disk_differences,
    engine_differences,
    unreached_differences,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.network import network_differences
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.nginx import nginx_differences
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.unexplained import (
    unexplained_differences,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.units import unit_differences
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import (
    found_state,
    present_balancers,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars as ReleaseHostVars
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars

KINDS: tuple[Callable[[Fleet], Iterator[Difference]], ...] = (
    unreached_differences,
    engine_differences,
    clock_differences,
    disk_differences,
    certificate_differences,
    guard_differences,
    network_differences,
    unit_differences,
    file_differences,
    service_differences,
    endpoint_differences,
    health_differences,
    nginx_differences,
    image_differences,
    unexplained_differences,
    lock_differences,
)


def differences(fleet: Fleet) -> list[Difference]:
    """Return in what the fleet differs from what the inventory and the state want.

    What the roles want of Nginx, the registry and keepalived they tell by their entry points `wanted`, as facts.
    """
    return [difference for kind in KINDS for difference in kind(fleet)]


def differences_step(
    hostvars: HostVars, groups: Groups, in_scope: Sequence[str], present: Sequence[str], now: float
) -> list[Difference]:
    """Return the differences of a run that has inspected the hosts that are present."""
    facts = cast("ReleaseHostVars", hostvars)
    planned = hostvars[present[0]].get("release_planned")
    state: State | None = planned["state"] if planned else None
    if state is None and present_balancers(facts, groups, present):
        state = found_state(facts, groups, present)
    return differences(Fleet.of(hostvars, groups, in_scope, present, state, now))

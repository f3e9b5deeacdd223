"""Runs on the controller: the firewall that machines are to have, against what they have."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.firewall import (
    firewall_differences,
    wanted_firewalls,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import machine


def guard_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield in what machines' firewalls differ: their rules, the jumps to them, their files and their units' links."""
    registry, builders_registry = fleet.registries()
    wanted = wanted_firewalls(fleet.hostvars, fleet.groups, registry, builders_registry)
    for host in fleet.machines:
        if firewall := wanted.get(machine(fleet.hostvars, host)):
            yield from firewall_differences(fleet.found(host), firewall, host)

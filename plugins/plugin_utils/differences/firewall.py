"""Runs on the controller: the firewall that machines are to have, against what they have."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.firewall import (
    firewall_differences,
    firewall_rules,
    wanted_firewall,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import machine


def guard_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield in what machines' firewalls differ: their rules, the jumps to them, their files and their units' links."""
    registry, builders_registry = fleet.registries()
    rules = firewall_rules(fleet.hostvars, fleet.groups, registry, builders_registry)
    for host in fleet.machines:
        own = rules.get(machine(fleet.hostvars, host), [])
        yield from firewall_differences(fleet.found(host), wanted_firewall(own), host)

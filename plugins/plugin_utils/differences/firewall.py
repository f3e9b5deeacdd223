"""Runs on the controller: the firewall that machines are to have, against what they have."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.firewall import guarded_ports
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import host_address


def firewall_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the machines whose firewall is not in place."""
    for host in guarded_machines(fleet):
        if not fleet.found(host)["firewall"]:
            yield {
                "host": host,
                "thing": "firewall",
                "wanted": "in place",
                "found": "missing",
                "mended_by": SITE,
                "change": "put the firewall in place",
            }


def guarded_machines(fleet: Fleet) -> list[str]:
    """Return the machines that have ports to guard, each by its first host."""
    registries = (str(fleet.fact(name)) for name in ("registry_endpoint", "registry_push_endpoint"))
    guarded = guarded_ports(fleet.hostvars, fleet.groups, *registries)
    return [host for host in fleet.machines if host_address(fleet.hostvars, host) in guarded]

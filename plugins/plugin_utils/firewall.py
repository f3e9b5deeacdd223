"""Runs on the controller: derives from the inventory which ports a machine's firewall guards, and from whom."""

from __future__ import annotations

import ipaddress
from typing import TypedDict

from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars, setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    fleet_hosts,
    host_address,
    image_builder,
)


class Guard(TypedDict):
    """Ports of a machine's address that only some sources may reach."""

    address: str
    ports: str
    """One port, or the first and the last with a colon between them."""
    sources: list[str]


def guarded_ports(
    hostvars: HostVars, groups: Groups, registry: str, builders_registry: str
) -> dict[str, list[Guard]]:
    """Return what each machine's firewall guards, by the machine's address.

    Only load balancers may reach the endpoints. All machines of the fleet may reach `registry`, the ADDRESS:PORT from
    which they pull images; only the builder may reach `builders_registry`, to which it pushes them. A loopback address
    needs no guard, because only the machine itself can reach it.

    Raises:
        AnsibleFilterError: when an address is IPv6, for which Docker has no chain to put a guard into.
    """
    balancers = {host_address(hostvars, host, "nginx_lb_address") for host in groups["load_balancers"]}
    guarded: dict[str, list[Guard]] = {}

    def guard(host: str, address: str, ports: str, sources: set[str]) -> None:
        parsed = ipaddress.ip_address(address)
        if parsed.is_loopback:
            return
        if parsed.version == 6:
            raise AnsibleFilterError(
                f"{host}: {address} is an IPv6 address, which the firewall can't guard; use an IPv4 one"
            )
        entry: Guard = {"address": address, "ports": ports, "sources": sorted(sources)}
        guarded.setdefault(host_address(hostvars, host), []).append(entry)

    for node in groups["model_nodes"]:
        port = int(setting(hostvars, node, "model_endpoint_port"))
        guard(node, host_address(hostvars, node, "model_endpoint_address"), f"{port}:{port + 1}", balancers)

    builder = image_builder(groups)
    if not ipaddress.ip_address(host_address(hostvars, builder, "registry_address")).is_loopback:
        fleet = balancers | {host_address(hostvars, host) for host in fleet_hosts(groups)}
        for endpoint, sources in ((registry, fleet), (builders_registry, {host_address(hostvars, builder)})):
            address, _, port_of_registry = endpoint.rpartition(":")
            guard(builder, address, port_of_registry, sources)
    return guarded

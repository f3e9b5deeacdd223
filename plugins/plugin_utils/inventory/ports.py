"""Runs on the controller: checks that no two containers of a machine use the same port."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ansible_collections.flotilla.fleet.plugins.plugin_utils.addresses import Address
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.hosts import Host, Members
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.report import Report, listed
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.rules import HIGHEST_PORT
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.tls import tls_mode
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.values import (
    whole,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.variables import KnownVariables
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Option


@dataclass(frozen=True)
class UsedPort:
    """A port that a container uses at an address of its machine. An endpoint uses the next port as well."""

    host: str
    variable: str
    port: int
    address: Address

    def shares_machine(self, other: UsedPort) -> bool:
        """Tell whether the two ports are on one machine, as far as the inventory shows."""
        return self.host == other.host or self.address == other.address


def check_ports(members: Members, variables: KnownVariables, report: Report) -> None:
    """Report ports that collide on a machine."""
    ordering = [host for host in members.balancers if tls_mode(host) == "acme"]
    serving_tls = [host for host in members.balancers if tls_mode(host)]
    endpoints = _used_ports(members.nodes, "model_endpoint_address", "model_endpoint_port", variables)
    others = [
        used
        for hosts, address, variable in (
            (members.balancers, "nginx_lb_address", "nginx_lb_port"),
            (serving_tls, "nginx_lb_address", "nginx_lb_tls_port"),
            (members.balancers, "nginx_lb_address", "nginx_lb_status_port"),
            (ordering, "nginx_lb_address", "acme_port"),
            (members.builders, "registry_address", "registry_port"),
            (members.builders, "registry_address", "registry_push_port"),
            *_of_metrics(members),
        )
        for used in _used_ports(hosts, address, variable, variables)
    ]
    _check_endpoints(endpoints, report)
    _check_others(others, endpoints, report)


def _of_metrics(members: Members) -> list[tuple[Sequence[Host], str, str]]:
    """Return the hosts, the variable of the address and that of the port of what tells and collects metrics."""
    if not members.monitors:
        return []
    machines = {host.way_in(): host for host in reversed(members.of_fleet)}
    return [
        (members.balancers, "nginx_lb_address", "nginx_lb_metrics_port"),
        (list(machines.values()), "machine_address", "node_exporter_port"),
        (members.monitors, "machine_address", "monitoring_prometheus_port"),
        (members.monitors, "machine_address", "monitoring_alertmanager_port"),
        (members.monitors, "machine_address", "fleet_page_port"),
    ]


def _used_ports(
    hosts: Iterable[Host], address_variable: str, variable: str, variables: KnownVariables
) -> list[UsedPort]:
    """Return the ports of `hosts`, without those whose port or address is wrong, which other checks report."""
    default = variables.options.get(variable, Option()).get("default")
    found = []
    for host in hosts:
        port = whole(host.variables.get(variable, default))
        address = host.ip(address_variable)
        if port is not None and address is not None:
            found.append(UsedPort(host.name, variable, port, address))
    return found


def _check_endpoints(endpoints: Sequence[UsedPort], report: Report) -> None:
    machines: dict[Address, list[UsedPort]] = defaultdict(list)
    for endpoint in endpoints:
        machines[endpoint.address].append(endpoint)
    for address, neighbours in machines.items():
        neighbours.sort(key=lambda endpoint: endpoint.port)
        pairs = [pair for pair in pairwise(neighbours) if pair[1].port - pair[0].port < 2]
        if pairs:
            colliding = list(dict.fromkeys(endpoint for pair in pairs for endpoint in pair))
            free = neighbours[-1].port + 2
            example = f", such as {free}" if free < HIGHEST_PORT else ""
            report.line(
                f"{listed([f'{endpoint.host} ({endpoint.port})' for endpoint in colliding])}: "
                f"model_endpoint_port overlaps at {address}, because an endpoint uses its port and the next one: "
                f"set another port on {colliding[-1].host}{example}"
            )


def _check_others(others: Sequence[UsedPort], endpoints: Sequence[UsedPort], report: Report) -> None:
    used: dict[int, list[UsedPort]] = defaultdict(list)
    for endpoint in endpoints:
        used[endpoint.port].append(endpoint)
        used[endpoint.port + 1].append(endpoint)
    for other in others:
        for rival in used[other.port]:
            if rival.shares_machine(other):
                fix = (
                    f"{other.variable} of {other.host} uses port {other.port} of the same machine: "
                    f"set another {rival.variable}"
                )
                report.value(rival.host, rival.variable, rival.port, fix)
        used[other.port].append(other)

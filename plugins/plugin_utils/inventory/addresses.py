"""Runs on the controller: checks where the fleet talks to its machines, and which hosts are one machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.hosts import Host, Members
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.report import (
    Report,
    Unreadable,
    listed,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.rules import (
    MACHINE_ADDRESS,
    machine_fix,
)


def check_addresses(members: Members, report: Report) -> None:
    """Report hosts whose ansible_host, or name, has to be the address of a service and can't be."""
    services = (
        (members.nodes, "model_endpoint_address"),
        (members.balancers, "nginx_lb_address"),
        (members.builders, "registry_address"),
        (members.monitors, MACHINE_ADDRESS),
    )
    checked = set()
    for hosts, variable in services:
        for host in hosts:
            source, value = host.address(variable)
            # The values of settings are checked with all other settings.
            if host.name in checked or source in (variable, MACHINE_ADDRESS) or isinstance(value, Unreadable):
                continue
            checked.add(host.name)
            if fix := machine_fix(value):
                report.value(host.name, source, value, fix)


def check_machine_addresses(members: Members, report: Report) -> None:
    """Report a machine with several values of machine_address, and a value that several machines have."""
    hosts = members.of_fleet
    for beside in _grouped((host.way_in(), host) for host in hosts):
        values = {str(host.variables.get(MACHINE_ADDRESS)) for host in beside}
        if len(values) > 1:
            report.line(
                f"{listed([host.name for host in beside])}: {MACHINE_ADDRESS} is not the same on all, though "
                "Ansible reaches one machine by them: set the same on each"
            )
    for sharing in _grouped(
        (str(host.variables[MACHINE_ADDRESS]), host) for host in hosts if MACHINE_ADDRESS in host.variables
    ):
        if len({host.way_in() for host in sharing}) > 1:
            report.line(
                f"{listed([host.name for host in sharing])}: {MACHINE_ADDRESS} is "
                f"{sharing[0].variables[MACHINE_ADDRESS]!r} on all, though Ansible reaches several machines by them: "
                "give each machine its own, or each host of one machine the same ansible_host and ansible_port"
            )


def _grouped(pairs: Iterable[tuple[str, Host]]) -> Sequence[Sequence[Host]]:
    groups: Mapping[str, list[Host]] = defaultdict(list)
    for key, host in pairs:
        groups[key].append(host)
    return list(groups.values())

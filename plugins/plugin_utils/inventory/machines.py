"""Runs on the controller: checks how Ansible reaches the machines, and what would reach the controller by mistake."""

from __future__ import annotations

import ipaddress
import socket
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache

from ansible_collections.flotilla.fleet.plugins.plugin_utils.addresses import first_address
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.hosts import Host, Members, Values
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.report import (
    Report,
    Unreadable,
    listed,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.rules import BOOLEANS, address_fix
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.values import ip_address, whole

CONTROLLER_NAMES = ("localhost", "127.0.0.1", "::1")
"""The hosts that Ansible takes for the controller where the inventory does not have them."""

OVER_SSH = ("", "ssh", "smart", "ansible.builtin.ssh", "paramiko", "paramiko_ssh")
"""Values of ansible_connection by which an address alone tells the machine; empty where it is not set."""

SSH_PORT = 22

THIS_MACHINE = "this machine"


def check_machines(members: Members, controller: Values, report: Report) -> None:
    """Report machines that have two names, and settings that would reach another machine than the one they are for.

    `controller` are the variables of localhost, where tasks of the controller run.
    """
    known = [host for host in members.hosts if not _is_unreadable(host)]
    for host in known:
        _check_localhost(host, report)
    about = {host.name for host in members.of_fleet}
    _check_spellings([host for host in known if host.name in about], report)
    _check_become(controller, report)


def check_node_addresses(nodes: Sequence[Host], report: Report) -> None:
    """Report nodes with an IPv6 address."""
    for node in nodes:
        source, value = node.address("model_endpoint_address")
        # That the value is an address of one machine is checked with all other settings.
        if isinstance(ip_address(value), ipaddress.IPv6Address) and not address_fix(value):
            fix = "endpoints are reached by IPv4 only: set model_endpoint_address to an IPv4 address of the machine"
            report.value(node.name, source, value, fix)


def _is_unreadable(host: Host) -> bool:
    """Tell whether a template of the host's connection fails, which is a mistake of its own."""
    return any(isinstance(value, Unreadable) for value in host.connection.values())


def _check_localhost(host: Host, report: Report) -> None:
    if host.name not in CONTROLLER_NAMES or _place(host) == THIS_MACHINE:
        return
    source, value = _reached_by(host)
    fix = (
        "a host of this name stands for the controller, and tasks of the controller would run there: give the host "
        "another name"
    )
    report.value(host.name, source, value, fix)


def _check_spellings(hosts: Sequence[Host], report: Report) -> None:
    """Report a machine that Ansible reaches in two ways: it would be taken for two machines."""
    machines: dict[str, dict[str, Host]] = defaultdict(dict)
    for host in hosts:
        # As plugin_utils/topology.py tells machines from each other.
        spelling = (
            f"{host.connection.get('ansible_host') or host.name} {host.connection.get('ansible_port') or ''}"
        )
        machines[_place(host)].setdefault(spelling.strip(), host)
    for place, spellings in machines.items():
        if len(spellings) > 1:
            found = listed([f"{host.name} ({spelling})" for spelling, host in spellings.items()])
            report.line(
                f"{found}: ansible_host and ansible_port name {_described(place)} in different ways, and it would be "
                "taken for several machines: write the same on all of these hosts"
            )


def _described(place: str) -> str:
    return place if place == THIS_MACHINE else f"the machine {place}"


def _check_become(controller: Values, report: Report) -> None:
    become = controller.get("ansible_become")
    if (
        become is not None
        and str(become).lower() in BOOLEANS
        and str(become).lower() in ("true", "yes", "on")
    ):
        fix = (
            "this holds for the controller's own tasks as well, which need no root: delete it, since the playbooks "
            "become root on the machines by themselves, or set it for the groups of the fleet alone"
        )
        report.value("localhost", "ansible_become", become, fix)


def _reached_by(host: Host) -> tuple[str, object]:
    """Return the variable that says where a host is, and its value."""
    for variable in ("ansible_connection", "ansible_host", "ansible_port"):
        value = host.connection.get(variable)
        if value and not (variable == "ansible_connection" and str(value) in OVER_SSH):
            return variable, value
    return "inventory_hostname", host.name


def _place(host: Host) -> str:
    """Return a text that is the same for all spellings of a machine."""
    connection = str(host.connection.get("ansible_connection") or "").removeprefix("ansible.builtin.")
    address, port = host.connection.get("ansible_host") or host.name, host.connection.get("ansible_port")
    if connection == "local":
        return THIS_MACHINE
    number = whole(port) if port else SSH_PORT
    if connection not in OVER_SSH:
        return f"{connection} {address} {number}"
    resolved = ip_address(address) or first_address(str(address))
    found = str(resolved) if resolved else None
    if number == SSH_PORT:  # another port of this machine may lead to another machine
        return THIS_MACHINE if found is not None and _is_own(found) else found or str(address)
    return f"{found or address} port {number}"


@lru_cache(maxsize=4096)
def _is_own(address: str) -> bool:
    """Tell whether this machine has the address: only its own can be bound."""
    ip = ipaddress.ip_address(address)
    if ip.is_loopback:
        return True
    if ip.is_unspecified:
        return False
    with socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def variables_of_controller(hostvars: Mapping[str, Values]) -> Values:
    """Return the variables of localhost, which Ansible knows even where no line of the inventory names it."""
    try:
        return hostvars["localhost"]
    except KeyError:
        return {}

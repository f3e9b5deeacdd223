"""Runs on the controller: checks groups, names and addresses, each against those of the other hosts."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping, Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.hosts import Host, Members
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.report import (
    Report,
    listed,
    shown,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.values import (
    ip_interface,
    whole,
)

LONGEST_NAME = 63
"""The most characters between two dots of the DNS name in an endpoint's certificate."""

OWN_ADDRESSES = (
    "model_endpoint_address",
    "nginx_lb_address",
    "registry_address",
    "machine_address",
    "ansible_host",
)


def check_groups(groups: Mapping[str, Sequence[str]], nodes: Sequence[Host], report: Report) -> None:
    """Report groups with too few or too many hosts, and a fleet whose nodes are all drained."""
    for group, purpose in (("load_balancers", "run Nginx"), ("model_nodes", "run an endpoint")):
        if not groups.get(group):
            near = difflib.get_close_matches(group, [name for name in groups if name != group], 1, 0.8)
            rename = f", or rename the group {near[0]} to {group}" if near else ""
            report.line(f"{group}: the group has no host: add a host to {purpose}{rename}")
    builders = groups.get("image_builder", [])
    if len(builders) > 1:
        report.line(
            f"image_builder: the group has {len(builders)} hosts ({listed(builders)}): leave one in the group"
        )
    if nodes and all(node.variables.get("model_endpoint_state") == "drained" for node in nodes):
        report.line(
            f"{listed([node.name for node in nodes])}: model_endpoint_state is 'drained' on every host of "
            "model_nodes, so no endpoint would get requests: set it to present on at least one host"
        )


def check_names(nodes: Sequence[Host], report: Report) -> None:
    """Report nodes whose name can't be a part of a container's name and of a DNS name."""
    fix = (
        "a container or a certificate can't have this name: use letters, digits, '_', '-' and single dots, begin with "
        f"a letter or digit, don't end with a dot, use at most {LONGEST_NAME} characters, and set the address as "
        "ansible_host"
    )
    for node in nodes:
        allowed = re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]*(\.[a-zA-Z0-9_-]+)*", node.name)
        if not allowed or len(node.name) > LONGEST_NAME:
            report.value(node.name, "inventory_hostname", node.name, fix)


def check_min_nodes(members: Members, report: Report) -> None:
    """Report a release_min_nodes that is more than there are nodes."""
    variable, nodes = "release_min_nodes", len(members.nodes)
    for host in members.hosts:
        least = host.variables.get(variable)
        if nodes and (whole(least) or 0) > nodes:
            fix = f"model_nodes has {nodes} host{'s' * (nodes > 1)}: set at most {nodes}, or add hosts"
            report.value(host.name, variable, least, fix)


def check_virtual_address(members: Members, report: Report) -> None:
    """Report a virtual address that differs between load balancers, belongs to a machine, or can't move."""
    variable, balancers = "virtual_address_ip", members.balancers
    values = {host.name: host.variables.get(variable) for host in balancers}
    wanted = {name: value for name, value in values.items() if ip_interface(value)}
    if not wanted:
        return
    if len(set(map(str, values.values()))) > 1:
        found = listed([f"{name} ({shown(value)})" for name, value in values.items()])
        report.line(f"{found}: {variable} is not the same on all: set it for the group load_balancers")
        return
    if len(balancers) < 2:
        fix = (
            "only one load balancer could have this address: add a second host to load_balancers, or delete "
            f"{variable}"
        )
        report.value(balancers[0].name, variable, values[balancers[0].name], fix)
    virtual = ip_interface(values[balancers[0].name])
    for host in members.hosts:
        if virtual and virtual.ip in [host.ip(name) for name in OWN_ADDRESSES]:
            for name, value in wanted.items():
                fix = f"this is the address of {host.name}: set one that no machine has"
                report.value(name, variable, value, fix)
    for host in balancers:
        source, value = host.address("nginx_lb_address")
        if isinstance(host.ip("nginx_lb_address"), ipaddress.IPv6Address):
            fix = f"{variable} needs an IPv4 address here: set nginx_lb_address to one"
            report.value(host.name, source, value, fix)

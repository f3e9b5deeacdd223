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
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import RAMP
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import MONITORING

LONGEST_NAME = 63
"""The most characters between two dots of the DNS name in an endpoint's certificate."""

HIGHEST_WEIGHT = (2**63 - 1) // (2 * max(RAMP))
"""The most that the weights of all nodes may add up to.

Nginx is given each weight times the node's share in percent and keeps it in a signed number of 64 bits. While it
chooses a server, it adds weights to a value that may have reached the sum of all.
"""

BESIDE_INVENTORY = ("internal_ca_directory", "model_image_models", "release_verdict_directory")
"""The settings of the whole fleet whose defaults go by the folder of the inventory file that first names a host."""

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
    for group in ("image_builder", MONITORING):
        found = groups.get(group, [])
        if len(found) > 1:
            report.line(
                f"{group}: the group has {len(found)} hosts ({listed(found)}): leave one in the group"
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


def check_folders(folders: Mapping[str, object], members: Members, report: Report) -> None:
    """Report an inventory of several folders that leaves it open which of them is the fleet's.

    `folders` has the folder of each host. The first host of a run would decide, and --limit changes which one that is.
    """
    hosts = {host.name: host for host in members.of_fleet}
    found = dict.fromkeys(folders[name] for name in hosts if name in folders)
    unset = [name for name in BESIDE_INVENTORY if any(name not in host.variables for host in hosts.values())]
    if len(found) > 1 and unset:
        names = listed(list(map(str, found)))
        report.line(
            f"the inventory's hosts come from {len(found)} folders ({names}), and each host would have its own"
            f" {listed(unset)}: set these for the group all, or name all hosts in one folder"
        )


def check_exporters(members: Members, report: Report) -> None:
    """Report a port of node_exporter that is not the whole fleet's."""
    variable = "node_exporter_port"
    values = {host.name: host.variables.get(variable) for host in members.of_fleet}
    if members.monitors and len(set(map(str, values.values()))) > 1:
        found = listed([f"{name} ({shown(value)})" for name, value in values.items() if value is not None])
        report.line(f"{found}: {variable} is not the same on all hosts: set it for the group all")


def check_min_nodes(members: Members, report: Report) -> None:
    """Report a release_min_nodes that is more than there are nodes."""
    variable, nodes = "release_min_nodes", len(members.nodes)
    for host in members.hosts:
        least = host.variables.get(variable)
        if nodes and (whole(least) or 0) > nodes:
            fix = f"model_nodes has {nodes} host{'s' * (nodes > 1)}: set at most {nodes}, or add hosts"
            report.value(host.name, variable, least, fix)


def check_weights(nodes: Sequence[Host], report: Report) -> None:
    """Report weights that Nginx could not add up."""
    variable = "model_endpoint_weight"
    weights = {node.name: whole(node.variables.get(variable, 1)) or 0 for node in nodes}
    total = sum(weights.values())
    if total <= HIGHEST_WEIGHT:
        return
    # Only the ratios count, so the line names what is large, and not each node.
    for name, weight in weights.items():
        if weight * len(nodes) > HIGHEST_WEIGHT:
            fix = (
                f"the weights of model_nodes add up to {total}, and Nginx can't count beyond {HIGHEST_WEIGHT}: set "
                "smaller ones, as only their ratios matter"
            )
            report.value(name, variable, weight, fix)


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

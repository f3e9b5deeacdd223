"""Filters that read the fleet out of the inventory: who builds, which machines there are, who gets what."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

HostVars = Mapping[str, Mapping[str, Any]]
Groups = Mapping[str, Sequence[str]]


def host_address(hostvars: HostVars, host: str, variable: str = "ansible_host") -> str:
    """Return the address of `host`: `variable` if it is set, else ansible_host, else the host's name."""
    variables = hostvars[host]
    return str(variables.get(variable) or variables.get("ansible_host") or host)


def with_port(address: str, port: int | str) -> str:
    """Return `address` and `port` as one word, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def image_builder(groups: Groups) -> str:
    """Return the host that builds images and holds the registry: image_builder's, else the first load balancer.

    Raises:
        AnsibleFilterError: when there is neither.
    """
    for group in ("image_builder", "load_balancers"):
        if groups.get(group):
            return groups[group][0]
    raise AnsibleFilterError("no host builds images: put one into load_balancers or image_builder")


def fleet_hosts(groups: Groups) -> list[str]:
    """Return the hosts of the fleet, each once; an inventory may hold others that are none of its business."""
    members = [
        host for group in ("load_balancers", "model_nodes", "image_builder") for host in groups.get(group, ())
    ]
    return list(dict.fromkeys(members))


def machine_group(hostvars: HostVars, host: str) -> str:
    """Return the name of the group for the machine of `host`: hosts of one address and SSH port are one machine."""
    port = hostvars[host].get("ansible_port", "")
    return "flotilla_at_" + re.sub(r"\W", "_", f"{host_address(hostvars, host)} {port}".strip())


def upstream_servers(
    hostvars: HostVars, nodes: Sequence[str], slot: str = "blue"
) -> list[dict[str, str | int]]:
    """Return the servers of the upstream, one per host of `nodes` that is not drained.

    Each is a dict of `name`, `address`, `port` (the green slot's is the next one after the blue's) and `weight`.
    Only inventory variables are read, so the answer is the same whichever hosts a run is limited to.

    Raises:
        AnsibleFilterError: when no server is left, or there is no such slot.
    """
    if slot not in ("blue", "green"):
        raise AnsibleFilterError(f"no such slot: {slot!r}; it is blue or green")
    servers: list[dict[str, str | int]] = [
        {
            "name": node,
            "address": host_address(hostvars, node, "model_endpoint_address"),
            "port": int(hostvars[node].get("model_endpoint_port", 5001)) + (slot == "green"),
            "weight": int(hostvars[node].get("model_endpoint_weight", 1)),
        }
        for node in nodes
        if hostvars[node].get("model_endpoint_state", "present") == "present"
    ]
    if not servers:
        raise AnsibleFilterError(
            "no endpoint would be left to take traffic: set model_endpoint_state: present on a host of model_nodes"
        )
    return servers


def guarded_ports(hostvars: HostVars, groups: Groups, registry: str) -> dict[str, list[dict[str, Any]]]:
    """Return what each machine's firewall guards: by the machine's address, dicts of `address`, `ports`, `sources`.

    Endpoints let in the load balancers; the registry (`registry` is its ADDRESS:PORT) lets in the fleet. An
    address that only the machine itself can reach, a loopback one, needs no guard.

    Raises:
        AnsibleFilterError: when an address is IPv6, for which Docker has no chain to put a guard into.
    """
    balancers = {host_address(hostvars, host, "nginx_lb_address") for host in groups["load_balancers"]}
    guarded: dict[str, list[dict[str, Any]]] = {}

    def guard(host: str, address: str, ports: str, sources: set[str]) -> None:
        if ipaddress.ip_address(address).is_loopback:
            return
        if ipaddress.ip_address(address).version == 6:
            raise AnsibleFilterError(
                f"{host}: {address} is an IPv6 address, which the firewall can't guard; use an IPv4 one"
            )
        entry = {"address": address, "ports": ports, "sources": sorted(sources)}
        guarded.setdefault(host_address(hostvars, host), []).append(entry)

    for node in groups["model_nodes"]:
        port = int(hostvars[node].get("model_endpoint_port", 5001))
        guard(node, host_address(hostvars, node, "model_endpoint_address"), f"{port}:{port + 1}", balancers)

    builder = image_builder(groups)
    if not ipaddress.ip_address(host_address(hostvars, builder, "registry_address")).is_loopback:
        address, _, port_of_registry = registry.rpartition(":")
        fleet = balancers | {host_address(hostvars, host) for host in fleet_hosts(groups)}
        guard(builder, address, port_of_registry, fleet)
    return guarded


def fleet_certificates(hostvars: HostVars, groups: Groups, registry_address: str) -> list[dict[str, Any]]:
    """Return the certificates the fleet needs: the registry's own, and one per machine to ask the registry with."""
    machines = sorted({host_address(hostvars, host) for host in fleet_hosts(groups)})
    registry = {"name": "registry", "usage": "server", "addresses": [registry_address]}
    return [registry] + [{"name": f"machine-{address}", "usage": "client"} for address in machines]


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "fleet_certificates": fleet_certificates,
            "fleet_hosts": fleet_hosts,
            "guarded_ports": guarded_ports,
            "host_address": host_address,
            "image_builder": image_builder,
            "machine_group": machine_group,
            "upstream_servers": upstream_servers,
            "with_port": with_port,
        }

"""Runs on the controller: reads from the inventory which machines, nodes and load balancers there are, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.plugin_utils.addresses import addresses_of
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars, setting

MONITORING = "monitoring"
"""The group of the host that collects the fleet's metrics. Without it, there is nothing that concerns metrics."""

Variables = TypeVar("Variables", bound=Mapping[str, Any])


class MachineHost(TypedDict):
    """An inventory host with the machine it is on."""

    host: str
    group: str
    """flotilla_machines for the first host of a machine, flotilla_cohosted for the others."""
    first: str
    """The first host of the machine. What is done to a machine is done through that host."""


class EndpointAddress(TypedDict):
    """Where load balancers find the endpoint of the node `name`."""

    name: str
    address: str
    port: int


def read_once(hostvars: Mapping[str, Variables], hosts: Iterable[str]) -> dict[str, Variables]:
    """Return the variables of `hosts`. Ansible builds a host's variables at each access, in up to a millisecond."""
    return {host: hostvars[host] for host in hosts}


def way_in(hostvars: HostVars, host: str) -> str:
    """Return where Ansible comes in to `host`: ansible_host, else the host's name."""
    return str(hostvars[host].get("ansible_host") or host)


def machine_name(hostvars: HostVars, host: str) -> str:
    """Return the address or name at which the fleet talks to the machine of `host`: machine_address, else way_in."""
    return str(hostvars[host].get("machine_address") or way_in(hostvars, host))


def host_address(hostvars: HostVars, host: str, variable: str = "machine_address") -> str:
    """Return the address at which the fleet talks to `host`: `variable` if it is set, else that of `machine_name`.

    A name that the controller can't resolve stays a name. Preflight refuses it.
    """
    name = str(hostvars[host].get(variable) or machine_name(hostvars, host))
    return next(iter(addresses_of(name)), name)


def with_port(address: str, port: int | str) -> str:
    """Return `address` and `port` as ADDRESS:PORT, with an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def image_builder(groups: Groups) -> str:
    """Return the host that builds images and runs the registry: image_builder's, else the first load balancer.

    Raises:
        AnsibleFilterError: when both groups are empty.
    """
    for group in ("image_builder", "load_balancers"):
        if groups.get(group):
            return groups[group][0]
    raise AnsibleFilterError("no host builds images: put one into load_balancers or image_builder")


def fleet_hosts(groups: Groups) -> list[str]:
    """Return the hosts of the fleet, each once. Hosts of the inventory's other groups do not belong to it."""
    names = ("load_balancers", "model_nodes", "image_builder", MONITORING)
    return list(dict.fromkeys(host for group in names for host in groups.get(group, ())))


def monitoring_host(groups: Groups) -> str:
    """Return the host that collects the fleet's metrics; empty where none does."""
    return next(iter(groups.get(MONITORING, ())), "")


def service_hosts(groups: Groups) -> list[str]:
    """Return the load balancers and the builder, each once."""
    return list(dict.fromkeys([*groups["load_balancers"], image_builder(groups)]))


def machine(hostvars: HostVars, host: str) -> str:
    """Return the identity of the machine of `host`: where Ansible comes in, and by which port.

    The addresses of services don't tell machines apart: one machine may have several, and behind a gateway many
    machines have one way in and a port each.
    """
    return f"{way_in(hostvars, host)} {hostvars[host].get('ansible_port', '')}".strip()


def machines(hostvars: HostVars, hosts: Sequence[str]) -> list[MachineHost]:
    """Return a MachineHost for each of `hosts`, sorted by name."""
    first_hosts: dict[str, str] = {}
    found: list[MachineHost] = []
    for host in sorted(hosts):
        first = first_hosts.setdefault(machine(hostvars, host), host)
        group = "flotilla_machines" if first == host else "flotilla_cohosted"
        found.append({"host": host, "group": group, "first": first})
    return found


SERVICE_ADDRESSES = {
    "model_nodes": "model_endpoint_address",
    "load_balancers": "nginx_lb_address",
    "image_builder": "registry_address",
    MONITORING: "machine_address",
}
"""The variable that gives the hosts of a group an address for their service."""


def machine_addresses(hostvars: HostVars, groups: Groups) -> dict[str, set[str]]:
    """Return the addresses from which each machine of the fleet may talk to the others, by `machine`.

    Those are the machine's own and the ones of its services. Where it has one of a service, its own may be a name that
    the controller can't resolve, for an SSH configuration may give such names a meaning. Without any, the set is empty.
    """
    services = {**groups, "image_builder": [image_builder(groups)]}
    found: dict[str, set[str]] = {}
    for group, variable in SERVICE_ADDRESSES.items():
        for host in services.get(group, ()):
            names = (machine_name(hostvars, host), hostvars[host].get(variable))
            known = found.setdefault(machine(hostvars, host), set())
            known.update(address for name in names if name for address in addresses_of(str(name)))
    return found


def status_port(hostvars: HostVars, groups: Groups, host: str) -> int:
    """Return the port of Nginx's status page on the machine of `host`, 0 where no Nginx runs."""
    balancers = _balancers_at(hostvars, groups, machine(hostvars, host))
    return int(setting(hostvars, balancers[0], "nginx_lb_status_port")) if balancers else 0


def tls_port(hostvars: HostVars, groups: Groups, host: str) -> int:
    """Return the port where Nginx on the machine of `host` serves clients by TLS, 0 where Nginx does not."""
    for balancer in _balancers_at(hostvars, groups, machine(hostvars, host)):
        if setting(hostvars, balancer, "nginx_lb_tls") in ("own", "internal", "acme"):
            return int(setting(hostvars, balancer, "nginx_lb_tls_port"))
    return 0


def _balancers_at(hostvars: HostVars, groups: Groups, place: str) -> list[str]:
    """Return the load balancers on the `machine` `place`."""
    balancers = groups.get("load_balancers", ())
    return [balancer for balancer in balancers if machine(hostvars, balancer) == place]


def virtual_address(hostvars: HostVars, groups: Groups) -> str:
    """Return the address that moves between the load balancers, without its prefix; empty where none is set."""
    balancer = groups["load_balancers"][0]
    return str(setting(hostvars, balancer, "virtual_address_ip") or "").partition("/")[0]


def peer_addresses(hostvars: HostVars, groups: Groups, host: str) -> list[str]:
    """Return the addresses of the load balancers other than `host`."""
    return [
        host_address(hostvars, peer, "nginx_lb_address") for peer in groups["load_balancers"] if peer != host
    ]


def holds_address(hostvars: HostVars, host: str) -> bool:
    """Tell whether `host`, a load balancer, had the virtual address when its machine was inspected."""
    address = virtual_address(hostvars, {"load_balancers": [host]})
    return address in hostvars[host].get("flotilla_machine", {}).get("addresses", {})


def standby_first(balancers: Sequence[str], hostvars: HostVars) -> list[str]:
    """Return load balancers in the order in which a run changes them: the one that holds the address last."""
    return sorted(balancers, key=lambda host: holds_address(hostvars, host))


def drained_nodes(hostvars: HostVars, nodes: Sequence[str], state: Mapping[str, Any]) -> list[str]:
    """Return those of `nodes` that run and get no traffic, by the inventory or by playbooks/drain.yml.

    `state` is the state of the release, whose `drained` has the names of the nodes that the playbook drained.
    """
    return [
        node
        for node in nodes
        if node in state["drained"] or setting(hostvars, node, "model_endpoint_state") == "drained"
    ]


def endpoint_name(node: str) -> str:
    """Return the name in the certificate of `node`'s endpoint, by which load balancers know the endpoint.

    An address would not do: two endpoints may share one, and an endpoint may move to another's.
    """
    return f"{node}.endpoint.flotilla"


def container_name(node: str, slot: str) -> str:
    """Return the name of the container of `node`'s endpoint in `slot`."""
    return f"flotilla-{node}-{slot}"


NGINX_CONTAINER, KEEPALIVED_CONTAINER, ACME_CONTAINER = (
    "flotilla-nginx",
    "flotilla-keepalived",
    "flotilla-acme",
)
REGISTRY_CONTAINERS = ("flotilla-registry", "flotilla-registry-push")
EXPORTER_CONTAINER = "flotilla-node-exporter"
MONITORING_CONTAINERS = ("flotilla-prometheus", "flotilla-alertmanager", "flotilla-fleet-page")
"""The names of the containers of load balancers, of the builder, of every machine, and of the monitoring host."""

SLOTS = ("blue", "green")
"""The two places for an endpoint's container on a node."""


def other_slot(slot: str) -> str:
    """Return the slot that `slot` is not."""
    return "green" if slot == "blue" else "blue"


def endpoint_address(hostvars: HostVars, node: str, slot: str) -> EndpointAddress:
    """Return the address and port at which the load balancers find `node`'s endpoint in `slot`."""
    port = int(setting(hostvars, node, "model_endpoint_port"))
    address = host_address(hostvars, node, "model_endpoint_address")
    return {"name": node, "address": address, "port": port + (slot == "green")}

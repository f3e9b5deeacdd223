"""Runs on the controller: the rules of each machine's firewall, and in what a machine's differ from them.

Docker has already exchanged a packet's address and port for the container's when the rules see it; conntrack knows
what they were. A rule looks only at packets of the direction in which a connection was made: answers pass.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.module_utils.firewall_rules import (
    CHAIN,
    FIRST,
    JUMPS,
    Firewall,
    normal,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.addresses import literal
from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import published_ports
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference
from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import File, out_of_date
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars, setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    fleet_hosts,
    host_address,
    image_builder,
    machine,
    machine_addresses,
    machine_name,
    monitoring_host,
    read_once,
    virtual_address,
)

FOLDER = "/etc/flotilla/firewall"
UNITS = "/etc/systemd/system"
SOURCES = Path(__file__).parents[2] / "roles" / "node_firewall" / "files"

LINKS: Mapping[str, str] = {
    f"{UNITS}/docker.service.wants/flotilla-firewall.service": f"{UNITS}/flotilla-firewall.service",
    f"{UNITS}/timers.target.wants/flotilla-firewall.timer": f"{UNITS}/flotilla-firewall.timer",
}
"""Where systemd finds that the engine's start and a timer apply the rules: the target of each link, by its path."""

BRIDGE = "flotilla0"
"""The network interface of the network that the endpoints' containers are in; role model_endpoint makes it."""

MADE = "-m conntrack --ctdir ORIGINAL"
"""What a packet matches that goes the way in which its connection was made."""

SHOWN_RULES = 3
"""How many rules a difference tells."""


class Guard(TypedDict):
    """Ports of a machine's address that only some sources may reach."""

    address: str
    """Empty for every address that the machine has."""
    ports: str
    """One port, or the first and the last with a colon between them."""
    sources: list[str]


class WantedFirewall(TypedDict):
    """What a machine is to have for its firewall."""

    rules: Sequence[str]
    """As iptables-restore takes them."""
    files: list[File]
    links: Mapping[str, str]
    """The targets of links, by path."""


def firewall_rules(
    hostvars: HostVars, groups: Groups, registry: str, builders_registry: str
) -> dict[str, list[str]]:
    """Return the rules of each machine that needs some, as iptables-restore takes them, by `topology.machine`.

    `registry` is the ADDRESS:PORT from which the fleet pulls images, `builders_registry` the one to which the builder
    pushes them. On a machine with endpoints nothing but a load balancer reaches the endpoints' network, and nothing
    in this network makes a connection.

    Raises:
        AnsibleFilterError: when an address is IPv6, for which Docker has no chain to put a rule into, or is a name
            that the controller no longer resolves.
    """
    variables = read_once(hostvars, fleet_hosts(groups))
    guards = guarded_ports(variables, groups, registry, builders_registry)
    with_endpoints = {machine(variables, node) for node in groups["model_nodes"]}
    network = _network_rules(sorted(_balancers(variables, groups)))
    return {
        place: (network if place in with_endpoints else [])
        + [rule for guard in guards.get(place, ()) for rule in _guard_rules(guard)]
        for place in sorted(guards.keys() | with_endpoints)
    }


def wanted_firewall(rules: Sequence[str]) -> WantedFirewall:
    """Return the firewall of a machine that has these `rules`."""
    return {"rules": rules, "files": _files(rules), "links": LINKS}


def guarded_ports(
    hostvars: HostVars, groups: Groups, registry: str, builders_registry: str
) -> dict[str, list[Guard]]:
    """Return the ports that each machine guards, by `topology.machine`; the arguments are those of `firewall_rules`.

    Only load balancers may reach the endpoints: those that the inventory wants, and those that a container which was
    found there still publishes. They alone may reach each other's keepers of certificates by ACME; they and the
    monitoring host may reach the page of the fleet. All machines of the fleet may reach the registry, and only the
    builder may push to it. Only the monitoring host may read metrics. A loopback address needs no guard, because only
    the machine itself can reach it.
    """
    balancers = _balancers(hostvars, groups)
    guarded: dict[str, list[Guard]] = {}

    def guard(host: str, address: str, ports: str, sources: set[str]) -> None:
        if address and _ipv4(host, address).is_loopback:
            return
        entry: Guard = {"address": address, "ports": ports, "sources": sorted(sources)}
        entries = guarded.setdefault(machine(hostvars, host), [])
        if entry not in entries:
            entries.append(entry)

    wanted = set()
    for node in groups["model_nodes"]:
        port = int(setting(hostvars, node, "model_endpoint_port"))
        address = host_address(hostvars, node, "model_endpoint_address")
        guard(node, address, f"{port}:{port + 1}", balancers)
        wanted |= {(address, port), (address, port + 1)}
    for node in groups["model_nodes"]:
        for address, port in sorted(_published(hostvars[node].get("flotilla_machine", {})) - wanted):
            guard(node, address, str(port), balancers)

    builder = image_builder(groups)
    own = literal(host_address(hostvars, builder, "registry_address"))
    if own and not own.is_loopback:
        addresses = _machine_addresses(hostvars, groups)
        sources = balancers.union(*addresses.values()), addresses[machine(hostvars, builder)]
        for endpoint, allowed in zip((registry, builders_registry), sources, strict=True):
            address, _, port_of_registry = endpoint.rpartition(":")
            guard(builder, address, port_of_registry, allowed)

    if monitoring_host(groups):
        allowed = _watching_addresses(hostvars, groups)
        for host, address, ports in _ports_of_metrics(hostvars, groups):
            guard(host, address, ports, allowed)
    for host, address, ports, own_sources in _ports_for_balancers(hostvars, groups):
        guard(host, address, ports, balancers | own_sources)
    return guarded


def _ports_for_balancers(hostvars: HostVars, groups: Groups) -> Iterator[tuple[str, str, str, set[str]]]:
    """Yield the host, address and port of each keeper of certificates by ACME, and of the page of the fleet, and who
    may reach it beside the load balancers.
    """
    for balancer in groups["load_balancers"]:
        if setting(hostvars, balancer, "nginx_lb_tls") == "acme":
            address = host_address(hostvars, balancer, "nginx_lb_address")
            yield balancer, address, str(setting(hostvars, balancer, "acme_port")), set()
    if monitor := monitoring_host(groups):
        page = host_address(hostvars, monitor)
        # A run waits on the monitoring host itself until the page listens.
        yield monitor, page, str(setting(hostvars, monitor, "fleet_page_port")), {str(_ipv4(monitor, page))}


def _ports_of_metrics(hostvars: HostVars, groups: Groups) -> Iterator[tuple[str, str, str]]:
    """Yield the host, address and port of all that tells metrics; an empty address means all of the machine's."""
    exporters = str(setting(hostvars, monitoring_host(groups), "node_exporter_port"))
    for host in fleet_hosts(groups):
        yield host, host_address(hostvars, host), exporters
    for host in groups["load_balancers"]:
        yield host, "", str(setting(hostvars, host, "nginx_lb_metrics_port"))


def _watching_addresses(hostvars: HostVars, groups: Groups) -> set[str]:
    """Return the IPv4 addresses from which metrics are read: the monitoring host's, and an outside Prometheus'.

    A machine that asks itself does so from the address that it asks, such as the virtual one.
    """
    place = machine(hostvars, monitoring_host(groups))
    beside = [host for host in groups["load_balancers"] if machine(hostvars, host) == place]
    virtual = virtual_address(hostvars, groups)
    return {
        *_machine_addresses(hostvars, groups)[place],
        *setting(hostvars, monitoring_host(groups), "monitoring_outside"),
        *(["127.0.0.1"] if beside else []),
        *([virtual] if beside and virtual else []),
    }


def _machine_addresses(hostvars: HostVars, groups: Groups) -> dict[str, set[str]]:
    """Return the IPv4 addresses from which each machine talks to the registry, of which it has at least one."""
    found = {
        place: {address for address in addresses if isinstance(literal(address), ipaddress.IPv4Address)}
        for place, addresses in machine_addresses(hostvars, groups).items()
    }
    for host in fleet_hosts(groups):
        if not found[machine(hostvars, host)]:
            _ipv4(host, machine_name(hostvars, host))  # which says what is wrong
    return found


def _balancers(hostvars: HostVars, groups: Groups) -> set[str]:
    """Return the addresses from which load balancers reach endpoints."""
    hosts = groups["load_balancers"]
    return {str(_ipv4(host, host_address(hostvars, host, "nginx_lb_address"))) for host in hosts}


def _ipv4(host: str, address: str) -> ipaddress.IPv4Address:
    """Return an address of `host` as one that a rule may hold.

    Raises:
        AnsibleFilterError: when it is a name, or an IPv6 address.
    """
    found = literal(address)
    if isinstance(found, ipaddress.IPv4Address):
        return found
    raise AnsibleFilterError(
        f"{host}: {address} is an IPv6 address, which the firewall can't guard; use an IPv4 one"
        if found
        else f"{host}: the controller can't resolve {address}: set machine_address to an IP address"
    )


def _published(found: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Return the addresses and ports that the endpoints' containers of an inspected machine publish."""
    return {
        (address, port)
        for container in found.get("containers", {}).values()
        if container["labels"].get("flotilla.role") == "endpoint"
        for address, port in published_ports(container)
        if literal(address)
    }


def _has_guarded_container(found: Mapping[str, Any]) -> bool:
    """Tell whether an inspected machine has a container whose ports nobody but the fleet may reach."""
    roles = {container["labels"].get("flotilla.role") for container in found["containers"].values()}
    return not roles.isdisjoint(("endpoint", "registry"))


def _guard_rules(guard: Guard) -> list[str]:
    own = f"--ctorigdst {guard['address']} " if guard["address"] else ""
    ports = f"-m conntrack {own}--ctorigdstport {guard['ports']} --ctdir ORIGINAL"
    if not guard["address"]:
        ports = f"-m addrtype --dst-type LOCAL {ports}"
    allowed = [f"-A {CHAIN} -s {source} -p tcp {ports} -j RETURN" for source in guard["sources"]]
    return [*allowed, f"-A {CHAIN} -p tcp {ports} -j DROP"]


def _network_rules(balancers: Sequence[str]) -> list[str]:
    """Return the rules of the endpoints' network, whatever ports its containers publish.

    A container that tries to make a connection is told at once that it may not, so that it does not wait.
    """
    return [
        f"-A {CHAIN} -i {BRIDGE} {MADE} -j REJECT --reject-with icmp-port-unreachable",
        *(f"-A {CHAIN} -s {source} -o {BRIDGE} -j RETURN" for source in balancers),
        f"-A {CHAIN} -o {BRIDGE} {MADE} -j DROP",
    ]


def _files(rules: Sequence[str]) -> list[File]:
    """Return the files by which a machine applies `rules`."""
    # iptables-restore empties a chain that is named with a colon, and makes the change as a whole or not at all.
    content = "\n".join(["# Written by Flotilla.", "*filter", f":{CHAIN} - [0:0]", *rules, "COMMIT", ""])
    return [
        {"path": f"{FOLDER}/rules", "content": content},
        {"path": f"{FOLDER}/apply.sh", "content": _source("apply.sh"), "mode": "0755"},
        *(
            File(path=f"{UNITS}/{name}", content=_source(name))
            for name in ("flotilla-firewall.service", "flotilla-firewall.timer")
        ),
    ]


def _source(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


def firewall_differences(found: Mapping[str, Any], wanted: WantedFirewall, host: str) -> list[Difference]:
    """Return in what the firewall of the machine of `host` differs from `wanted`.

    `found` is what module machine_state found on the machine. One that needs no rule and has none needs nothing else,
    and the rules of a node or a registry that has left stay as long as its container does.
    """
    firewall: Firewall = found["firewall"]
    if not wanted["rules"] and (not firewall["rules"] or _has_guarded_container(found)):
        return []
    differences: list[Difference] = []

    def differ(thing: str, want: str, find: str, change: str) -> None:
        differences.append(
            {
                "host": host,
                "thing": thing,
                "wanted": want,
                "found": find,
                "mended_by": SITE,
                "change": change,
            }
        )

    for chain, target in JUMPS.items():
        if (place := firewall["jumps"].get(chain, "")) != FIRST:
            jump = f"the jump from {chain} to {target}"
            differ(
                f"firewall: {jump}",
                f"the first rule of {chain}",
                place,
                f"put {jump} first, which guards ports",
            )
    rules = [normal(rule.split()) for rule in wanted["rules"]]
    if firewall["rules"] != rules:
        missing = [rule for rule in rules if rule not in firewall["rules"]]
        other = [rule for rule in firewall["rules"] if rule not in rules]
        want = _listed(missing) or ("no other rule" if other else "each rule once, in its order")
        find = _listed(other) or ("missing" if missing else "another order")
        differ(f"firewall: the rules of chain {CHAIN}", want, find, f"write the rules of chain {CHAIN} anew")
    for path in out_of_date(wanted["files"], found["files"]):
        find = "another content, mode or owner" if path in found["files"] else "missing"
        differ(f"file {path}", "as this version writes it", find, f"write {path}")
    for path, target in wanted["links"].items():
        if (link := found["links"].get(path, "")) != target:
            differ(f"link {path}", target, link or "missing", f"make the link {path}")
    return differences


def _listed(rules: Sequence[str]) -> str:
    """Return some of `rules` as a text, empty for none."""
    more = len(rules) - SHOWN_RULES
    return "; ".join(rules[:SHOWN_RULES]) + (f"; and {more} more" if more > 0 else "")

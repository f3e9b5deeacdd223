"""Filters that read the fleet out of the inventory: who builds, which machines there are, who gets what."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars, setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    endpoint_name,
    fleet_hosts,
    host_address,
    image_builder,
    machine,
    machines,
    peer_addresses,
    standby_first,
    status_port,
    tls_port,
    virtual_address,
    with_port,
)

ENDPOINTS = "/etc/flotilla/endpoints"
"""Where the certificates of a machine's endpoints lie, one folder an endpoint, which its containers mount."""

BALANCER = "/etc/flotilla/nginx/tls"
"""Where a load balancer's certificates lie, which Nginx and module endpoint_probe show and trust."""

ENDPOINT_USER, NGINX_USER = 10001, 10002
"""Who reads the keys, by the number of the user in the container."""


def guarded_ports(
    hostvars: HostVars, groups: Groups, registry: str, builders_registry: str
) -> dict[str, list[dict[str, Any]]]:
    """Return what each machine's firewall guards: by the machine's address, dicts of `address`, `ports`, `sources`.

    Endpoints let in the load balancers; the registry (`registry` is its ADDRESS:PORT) lets in the fleet, and
    `builders_registry`, where it takes images, the builder alone. An address that only the machine itself can reach, a
    loopback one, needs no guard.

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
        port = setting(hostvars, node, "model_endpoint_port")
        guard(node, host_address(hostvars, node, "model_endpoint_address"), f"{port}:{port + 1}", balancers)

    builder = image_builder(groups)
    if not ipaddress.ip_address(host_address(hostvars, builder, "registry_address")).is_loopback:
        fleet = balancers | {host_address(hostvars, host) for host in fleet_hosts(groups)}
        for name, sources in ((registry, fleet), (builders_registry, {host_address(hostvars, builder)})):
            address, _, port_of_registry = name.rpartition(":")
            guard(builder, address, port_of_registry, sources)
    return guarded


def door_certificates(hostvars: HostVars, groups: Groups) -> list[dict[str, Any]]:
    """Return the certificates of the internal CA that load balancers show clients, as module internal_ca takes them.

    They hold for all that the inventory says of where a load balancer is, and for nginx_lb_tls_names.
    """
    found = []
    for balancer in groups["load_balancers"]:
        variables = hostvars[balancer]
        if variables.get("nginx_lb_tls") == "internal":
            known = [host_address(hostvars, balancer, name) for name in ("ansible_host", "nginx_lb_address")]
            known += [virtual_address(hostvars, groups), *variables.get("nginx_lb_tls_names", ())]
            known = list(filter(None, dict.fromkeys(known)))
            addresses = [name for name in known if _is_address(name)]
            names = [name for name in known if not _is_address(name)]
            entry = {"name": f"door-{balancer}", "usage": "server", "addresses": addresses, "names": names}
            found.append(entry)
    return found


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def out_of_date(files: Sequence[Mapping[str, Any]], present: Mapping[str, str]) -> list[str]:
    """Return the paths of those `files` that are not as wanted.

    `files` is what the module write_files takes: dicts of `path`, `content`, and perhaps `mode` ("0644") and `owner`
    (0). `present` is what machine_state found: by path, SHA-256, mode and owner.
    """
    return [file["path"] for file in files if present.get(file["path"]) != _file_state(file)]


def _file_state(file: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(file["content"].encode()).hexdigest()
    return f"{digest}:{int(file.get('mode', '0644'), 8):04o}:{file.get('owner', 0)}"


def fleet_certificates(hostvars: HostVars, groups: Groups, registry_address: str) -> list[dict[str, Any]]:
    """Return the certificates the fleet needs, as module internal_ca takes them.

    The registry and each endpoint have one to serve with, and each machine one to pull images with. Those that ask
    endpoints and push images are signed by authorities of their own, so that a node's does neither.
    """
    addresses = sorted({host_address(hostvars, host) for host in fleet_hosts(groups)})
    return [
        {"name": "registry", "usage": "server", "addresses": [registry_address]},
        {"name": "builder", "usage": "client", "authority": "builder"},
        *({"name": f"machine-{address}", "usage": "client"} for address in addresses),
        *(
            {"name": f"endpoint-{node}", "usage": "server", "names": [endpoint_name(node)]}
            for node in groups["model_nodes"]
        ),
        *(
            {"name": f"balancer-{balancer}", "usage": "client", "authority": "balancers"}
            for balancer in groups["load_balancers"]
        ),
        *door_certificates(hostvars, groups),
    ]


def machine_certificates(
    hostvars: HostVars, groups: Groups, issued: Mapping[str, Any], registry: str, builders_registry: str
) -> dict[str, list[dict[str, Any]]]:
    """Return, by `machine`, the files of its certificates as module write_files takes them.

    `issued` is what module internal_ca returned; the other two are as in `guarded_ports`. A certificate and its key
    are one file wherever that can be, so that they are never replaced one without the other.
    """
    certificates, trusted = issued["certificates"], issued["authorities"]
    found: dict[str, list[dict[str, Any]]] = {}

    def trust(path: str, authority: str) -> dict[str, Any]:
        return {"path": path, "content": trusted[authority]}

    def pair(path: str, name: str, owner: int) -> dict[str, Any]:
        both = certificates[name]
        content = both["private_key"] + both["certificate"]
        return {"path": path, "content": content, "mode": "0400", "owner": owner}

    def let_engine_use(name: str, certificate: str) -> list[dict[str, Any]]:
        folder, client = f"/etc/docker/certs.d/{name}", certificates[certificate]
        return [
            trust(f"{folder}/ca.crt", "fleet"),
            {"path": f"{folder}/client.cert", "content": client["certificate"]},
            {"path": f"{folder}/client.key", "content": client["private_key"], "mode": "0600"},
        ]

    for host in fleet_hosts(groups):
        own = f"machine-{host_address(hostvars, host)}"
        found.setdefault(machine(hostvars, host), let_engine_use(registry, own))
    found[machine(hostvars, image_builder(groups))] += let_engine_use(builders_registry, "builder")
    for node in groups["model_nodes"]:
        folder = f"{ENDPOINTS}/{node}"
        found[machine(hostvars, node)] += [
            trust(f"{folder}/clients.crt", "balancers"),
            pair(f"{folder}/server.pem", f"endpoint-{node}", ENDPOINT_USER),
        ]
    for balancer in groups["load_balancers"]:
        found[machine(hostvars, balancer)] += [
            trust(f"{BALANCER}/servers.crt", "fleet"),
            pair(f"{BALANCER}/client.pem", f"balancer-{balancer}", NGINX_USER),
        ]
        if f"door-{balancer}" in certificates:
            found[machine(hostvars, balancer)] += [
                pair(f"{BALANCER}/door.pem", f"door-{balancer}", NGINX_USER)
            ]
    return found


def file_states(files: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return what machine_state finds of these `files`, as module write_files takes them, once they are written."""
    return {file["path"]: _file_state(file) for file in files}


def holds_certificates(hostvars: HostVars, hosts: Sequence[str]) -> bool:
    """Tell whether a machine among `hosts`, as it was looked at, has certificates of the fleet."""
    return any(
        path.startswith((f"{ENDPOINTS}/", f"{BALANCER}/"))
        for host in hosts
        for path in hostvars[host].get("flotilla_machine", {}).get("files", {})
    )


def balancer_certificates(files: Mapping[str, str], unused: Sequence[str] = ()) -> str:
    """Return what tells a load balancer's certificates, among the `files` of its machine, from others.

    `unused` are paths of those that Nginx is not told of.
    """
    states = [
        f"{path} {state}"
        for path, state in sorted(files.items())
        if path.startswith(f"{BALANCER}/") and path not in unused
    ]
    return hashlib.sha256("\n".join(states).encode()).hexdigest()[:12]


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "balancer_certificates": balancer_certificates,
            "endpoint_name": endpoint_name,
            "file_states": file_states,
            "fleet_certificates": fleet_certificates,
            "fleet_hosts": fleet_hosts,
            "guarded_ports": guarded_ports,
            "holds_certificates": holds_certificates,
            "host_address": host_address,
            "image_builder": image_builder,
            "machine": machine,
            "machine_certificates": machine_certificates,
            "machines": machines,
            "out_of_date": out_of_date,
            "peer_addresses": peer_addresses,
            "standby_first": standby_first,
            "status_port": status_port,
            "tls_port": tls_port,
            "virtual_address": virtual_address,
            "with_port": with_port,
        }

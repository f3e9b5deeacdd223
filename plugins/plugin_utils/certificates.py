"""Runs on the controller: derives from the inventory which certificates the fleet needs, and on which machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.addresses import literal
from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import File
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars, setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    endpoint_name,
    fleet_hosts,
    host_address,
    image_builder,
    machine,
    machine_name,
    monitoring_host,
    virtual_address,
)
from cryptography import x509

ENDPOINTS_FOLDER = "/etc/flotilla/endpoints"
"""Where a machine keeps the certificates of its endpoints: one folder per endpoint, which its containers mount."""

BALANCER_FOLDER = "/etc/flotilla/nginx/tls"
"""Where a load balancer keeps its certificates, for Nginx and for module endpoint_probe."""

EXPORTER_FOLDER = "/etc/flotilla/node_exporter"
PROMETHEUS_FOLDER = "/etc/flotilla/prometheus/tls"
PAGE_FOLDER = "/etc/flotilla/fleet_page"
"""Where a machine keeps the certificates of node_exporter, and the monitoring host those of Prometheus and the page."""

ACME_FOLDER = "/etc/flotilla/acme/tls"
"""Where a load balancer keeps what the keepers of role acme show each other."""

ACME_NAME = "acme.flotilla"
"""The name in the certificates by which keepers know each other. All load balancers have the same rights."""

ENDPOINT_USER, NGINX_USER = 10001, 10002
PROMETHEUS_USER, EXPORTER_USER, PAGE_USER = 10005, 10007, 10008
ACME_USER = 10009
"""The user ids that read the keys inside the containers."""

BALANCER_NAME, PAGE_NAME = "balancer.flotilla", "fleet-page.flotilla"
"""The names in the certificates by which Prometheus knows a load balancer, and load balancers the page."""


HOST_NAME = r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*"
"""The form of a DNS name, a wildcard included, and of an IPv4 address."""


class Certificate(TypedDict):
    """A certificate as module internal_ca issues it."""

    name: str
    usage: str
    """server or client."""
    authority: NotRequired[str]
    """fleet (the default), balancers, builder or monitoring."""
    addresses: NotRequired[list[str]]
    names: NotRequired[list[str]]


class KeyPair(TypedDict):
    """A certificate and its private key, both in PEM form."""

    certificate: str
    private_key: str


class Issued(TypedDict):
    """What module internal_ca returns."""

    authorities: Mapping[str, str]
    """The certificates to trust, in PEM form, by the authority's name."""
    certificates: Mapping[str, KeyPair]


def fleet_certificates(hostvars: HostVars, groups: Groups, registry_address: str) -> list[Certificate]:
    """Return the certificates that the fleet needs.

    The registry and each endpoint have a certificate to serve with, and each machine has one to pull images with.
    Load balancers, which send requests to endpoints, and the builder, which pushes images, have certificates of
    authorities of their own, so that a node's certificate allows neither.
    """
    names = sorted({machine_name(hostvars, host) for host in fleet_hosts(groups)})
    return [
        {"name": "registry", "usage": "server", "addresses": [registry_address]},
        {"name": "builder", "usage": "client", "authority": "builder"},
        *(Certificate(name=f"machine-{name}", usage="client") for name in names),
        *(
            Certificate(name=f"endpoint-{node}", usage="server", names=[endpoint_name(node)])
            for node in groups["model_nodes"]
        ),
        *(
            Certificate(name=f"balancer-{balancer}", usage="client", authority="balancers")
            for balancer in groups["load_balancers"]
        ),
        *monitoring_certificates(hostvars, groups),
        *frontend_certificates(hostvars, groups),
        *(
            Certificate(name=f"acme-{balancer}", usage="server", names=[ACME_NAME])
            for balancer in groups["load_balancers"]
            if setting(hostvars, balancer, "nginx_lb_tls") == "acme"
        ),
    ]


def monitoring_certificates(hostvars: HostVars, groups: Groups) -> list[Certificate]:
    """Return the certificates by which metrics are collected, where the inventory has a host that does.

    Prometheus shows one of an authority of its own, which only what serves metrics trusts. So it can read metrics, and
    nothing else.
    """
    if not monitoring_host(groups):
        return []
    addresses = {machine_name(hostvars, host): host_address(hostvars, host) for host in fleet_hosts(groups)}
    return [
        {"name": "monitoring", "usage": "client", "authority": "monitoring"},
        {"name": "fleet-page", "usage": "server", "names": [PAGE_NAME]},
        *(
            Certificate(name=f"metrics-{balancer}", usage="server", names=[BALANCER_NAME])
            for balancer in groups["load_balancers"]
        ),
        *(
            Certificate(
                name=f"exporter-{name}",
                usage="server",
                addresses=[address] if literal(address) else [],
                names=[] if literal(address) else [address],
            )
            for name, address in sorted(addresses.items())
        ),
    ]


def frontend_certificates(hostvars: HostVars, groups: Groups) -> list[Certificate]:
    """Return the certificates of the internal CA that load balancers show to clients.

    A certificate is valid for all addresses and names of its load balancer in the inventory, and for
    nginx_lb_tls_names. With acme, they are shown it until the CA has issued one.
    """
    found: list[Certificate] = []
    for balancer in groups["load_balancers"]:
        if setting(hostvars, balancer, "nginx_lb_tls") not in ("internal", "acme"):
            continue
        known = [machine_name(hostvars, balancer), host_address(hostvars, balancer, "nginx_lb_address")]
        known += [virtual_address(hostvars, groups), *setting(hostvars, balancer, "nginx_lb_tls_names")]
        known = list(filter(None, dict.fromkeys(known)))
        entry = Certificate(
            name=f"frontend-{balancer}",
            usage="server",
            addresses=[name for name in known if literal(name)],
            names=[name for name in known if not literal(name)],
        )
        found.append(entry)
    return found


def frontend_names(certificate: str, known: Sequence[str]) -> list[str]:
    """Return the names and addresses by which clients know a load balancer, sorted, as Nginx writes them in $host.

    These are `known`, and those that a `certificate` in PEM form is valid for, if there is one. What Nginx could not
    read as a name is left out.
    """
    names = set(known)
    if certificate:
        shown = x509.load_pem_x509_certificate(certificate.encode())
        for extension in shown.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                names.update(extension.value.get_values_for_type(x509.DNSName))
                names.update(map(str, extension.value.get_values_for_type(x509.IPAddress)))
    return sorted(name.lower() for name in names if re.fullmatch(HOST_NAME, name))


def machine_certificates(
    hostvars: HostVars, groups: Groups, issued: Issued, registry: str, builders_registry: str
) -> dict[str, list[File]]:
    """Return the certificate files of each machine, by `machine`.

    `registry` and `builders_registry` are those of `firewall.guarded_ports`. Where the reader allows, a certificate and
    its key are one file, so that neither is ever replaced without the other.
    """
    certificates, authorities = issued["certificates"], issued["authorities"]
    files: dict[str, list[File]] = {}
    for host in fleet_hosts(groups):
        client = certificates[f"machine-{machine_name(hostvars, host)}"]
        files.setdefault(machine(hostvars, host), _engine_files(registry, authorities["fleet"], client))
    files[machine(hostvars, image_builder(groups))] += _engine_files(
        builders_registry, authorities["fleet"], certificates["builder"]
    )
    for node in groups["model_nodes"]:
        folder = f"{ENDPOINTS_FOLDER}/{node}"
        files[machine(hostvars, node)] += [
            {"path": f"{folder}/clients.crt", "content": authorities["balancers"]},
            _pair_file(f"{folder}/server.pem", certificates[f"endpoint-{node}"], ENDPOINT_USER),
        ]
    for balancer in groups["load_balancers"]:
        client = certificates[f"balancer-{balancer}"]
        files[machine(hostvars, balancer)] += [
            {"path": f"{BALANCER_FOLDER}/servers.crt", "content": authorities["fleet"]},
            _pair_file(f"{BALANCER_FOLDER}/client.pem", client, NGINX_USER),
        ]
        if keeper := certificates.get(f"acme-{balancer}"):
            files[machine(hostvars, balancer)] += [
                {"path": f"{ACME_FOLDER}/clients.crt", "content": authorities["balancers"]},
                {"path": f"{ACME_FOLDER}/servers.crt", "content": authorities["fleet"]},
                _pair_file(f"{ACME_FOLDER}/client.pem", client, ACME_USER),
                _pair_file(f"{ACME_FOLDER}/server.pem", keeper, ACME_USER),
            ]
        elif frontend := certificates.get(f"frontend-{balancer}"):
            files[machine(hostvars, balancer)].append(
                _pair_file(f"{BALANCER_FOLDER}/frontend.pem", frontend, NGINX_USER)
            )
    if monitoring_host(groups):
        _add_monitoring_files(files, hostvars, groups, issued)
    return files


def _add_monitoring_files(
    files: dict[str, list[File]], hostvars: HostVars, groups: Groups, issued: Issued
) -> None:
    """Add to the files of each machine those by which metrics are served and collected."""
    certificates, authorities = issued["certificates"], issued["authorities"]
    monitor = monitoring_host(groups)
    own = certificates[f"machine-{machine_name(hostvars, monitor)}"]
    files[machine(hostvars, monitor)] += [
        {"path": f"{PROMETHEUS_FOLDER}/servers.crt", "content": authorities["fleet"]},
        _pair_file(f"{PROMETHEUS_FOLDER}/client.pem", certificates["monitoring"], PROMETHEUS_USER),
        # The registry takes a machine's certificate, and this machine has one.
        _pair_file(f"{PROMETHEUS_FOLDER}/machine.pem", own, PROMETHEUS_USER),
        {"path": f"{PAGE_FOLDER}/clients.crt", "content": authorities["balancers"]},
        _pair_file(f"{PAGE_FOLDER}/server.pem", certificates["fleet-page"], PAGE_USER),
    ]
    for balancer in groups["load_balancers"]:
        files[machine(hostvars, balancer)] += [
            {"path": f"{BALANCER_FOLDER}/monitoring.crt", "content": authorities["monitoring"]},
            _pair_file(f"{BALANCER_FOLDER}/metrics.pem", certificates[f"metrics-{balancer}"], NGINX_USER),
        ]
    names = {machine(hostvars, host): machine_name(hostvars, host) for host in fleet_hosts(groups)}
    for place, name in names.items():
        files[place] += [
            {"path": f"{EXPORTER_FOLDER}/clients.crt", "content": authorities["monitoring"]},
            _pair_file(f"{EXPORTER_FOLDER}/server.pem", certificates[f"exporter-{name}"], EXPORTER_USER),
        ]


def _engine_files(registry: str, authority: str, client: KeyPair) -> list[File]:
    """Return the files by which Docker uses the registry at ADDRESS:PORT; Docker gives their names and folder."""
    folder = f"/etc/docker/certs.d/{registry}"
    return [
        {"path": f"{folder}/ca.crt", "content": authority},
        {"path": f"{folder}/client.cert", "content": client["certificate"]},
        {"path": f"{folder}/client.key", "content": client["private_key"], "mode": "0600"},
    ]


def _pair_file(path: str, pair: KeyPair, owner: int) -> File:
    """Return the file of a key and its certificate, which the user id `owner` alone may read."""
    content = pair["private_key"] + pair["certificate"]
    return {"path": path, "content": content, "mode": "0400", "owner": owner}


def balancer_certificates(files: Mapping[str, str], unused: Sequence[str] = ()) -> str:
    """Return a hash of a load balancer's certificates, which changes when one of the certificates does.

    `files` is what machine_state found on the machine: SHA-256, mode and owner of each file, by path. `unused` are the
    paths of certificates that the configuration of Nginx does not name.
    """
    states = [
        f"{path} {state}"
        for path, state in sorted(files.items())
        if path.startswith(f"{BALANCER_FOLDER}/") and path not in unused
    ]
    return hashlib.sha256("\n".join(states).encode()).hexdigest()[:12]

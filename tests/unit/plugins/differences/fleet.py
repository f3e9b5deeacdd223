"""A fleet in which nothing differs: what machine_state finds, in the form that the engine and the disks tell it."""

from __future__ import annotations

import copy
import datetime
from functools import cache
from typing import Any

from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import wanted_settings
from ansible_collections.flotilla.fleet.plugins.module_utils.file_state import wanted_state
from ansible_collections.flotilla.fleet.plugins.module_utils.firewall_rules import FIRST, JUMPS, normal
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    Pair,
    certificate_pem,
    issue,
    key_pem,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import (
    Issued,
    KeyPair,
    fleet_certificates,
    machine_certificates,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.compare import differences
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.network import OPTIONS, SUBNET
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.units import ENGINE_LINK
from ansible_collections.flotilla.fleet.plugins.plugin_utils.firewall import (
    WantedFirewall,
    firewall_rules,
    wanted_firewall,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import (
    container_settings,
    new_release,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.service import RECIPE, endpoint_service
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import container_name, machine

NOW = 1_800_000_000.0
GROUPS = {"load_balancers": ["lb1", "lb2"], "model_nodes": ["node1", "cohosted", "node2"]}
HOSTS = ["lb1", "lb2", "node1", "cohosted", "node2"]
INVENTORY: dict[str, dict[str, Any]] = {
    "lb1": {"ansible_host": "10.0.0.1"},
    "lb2": {"ansible_host": "10.0.0.2"},
    "node1": {"ansible_host": "10.0.0.11"},
    "cohosted": {"ansible_host": "10.0.0.11", "model_endpoint_port": 5003},
    "node2": {"ansible_host": "10.0.0.12"},
}
REGISTRIES = ("10.0.0.1:5000", "10.0.0.1:5080")
REFERENCE = "10.0.0.1:5000/flotilla/model-endpoint@sha256:live"
LIVE = {
    **new_release("image", container_settings(INVENTORY, GROUPS["model_nodes"], RECIPE), NOW),  # type: ignore[arg-type]
    "reference": REFERENCE,
}
OLD = {**LIVE, "id": "older", "reference": REFERENCE.replace("live", "old")}
NGINX = {
    "name": "flotilla-nginx",
    "image": "flotilla/nginx:abc",
    "user": 10002,
    "memory": "512m",
    "pids_limit": 256,
    "labels": {"flotilla.role": "load_balancer"},
}
NO_FIREWALL: WantedFirewall = {"rules": [], "files": [], "links": {}}
CONFIGURATION_FILE, STATE_FILE = "/etc/flotilla/nginx/nginx.conf", "/var/lib/flotilla/state.json"
UP = {"status": "up", "share": 100, "since": 1, "reason": ""}
STATE: dict[str, Any] = {
    "format": 1,
    "serial": 4,
    "live_slot": "green",
    "live": LIVE,
    "candidate": None,
    "previous": [OLD],
    "nodes": dict.fromkeys(GROUPS["model_nodes"], UP),
    "drained": [],
}


@cache
def authority(name: str) -> Pair:
    """An authority, made once."""
    return make_authority(name)


@cache
def issued() -> Issued:
    """What module internal_ca returns."""
    certificates: dict[str, KeyPair] = {}
    for wanted in fleet_certificates(INVENTORY, GROUPS, "10.0.0.1"):
        pair = issue(authority(wanted.get("authority", "fleet")), wanted["name"], wanted["usage"])
        certificates[wanted["name"]] = pem(pair)
    names = ("fleet", "balancers", "builder")
    return {
        "authorities": {name: certificate_pem(authority(name)[0]) for name in names},
        "certificates": certificates,
    }


def pem(pair: Pair) -> KeyPair:
    """A certificate and its key, as module internal_ca returns them."""
    return {"certificate": certificate_pem(pair[0]), "private_key": key_pem(pair[1])}


def container(service: dict[str, Any], image: str, image_id: str) -> dict[str, Any]:
    """A container that runs as its service says."""
    return {
        "running": True,
        "health": "healthy",
        "image": image,
        "image_id": image_id,
        "labels": {**service["labels"], "flotilla.image": service["image"]},
        "restarts": 0,
        "started": "2027-01-01T00:00:00.123456789Z",
        "settings": wanted_settings(service),
        "newer_files": False,
    }


def found(host: str) -> dict[str, Any]:
    """What machine_state finds on the machine of a host."""
    files = [*machine_certificates(INVENTORY, GROUPS, issued(), *REGISTRIES)[machine(INVENTORY, host)]]
    certificates = {file["path"]: file["content"] for file in files if "BEGIN CERT" in file["content"]}
    rules = firewall_rules(INVENTORY, GROUPS, *REGISTRIES).get(machine(INVENTORY, host))
    firewall = wanted_firewall(rules) if rules else NO_FIREWALL
    files += firewall["files"]
    result: dict[str, Any] = {
        "engine": True,
        "engine_version": "20.10.24+dfsg1",
        "bridge": "172.17.0.1",
        "network": {},
        "addresses": {},
        "containers": {},
        "images": {},
        "files": {
            "/lib/systemd/system/docker.service": "d0c:0644:0",
            **{file["path"]: wanted_state(file) for file in files},
        },
        "certificates": {path: text[text.index("-----BEGIN CERT") :] for path, text in certificates.items()},
        "links": {**firewall["links"], ENGINE_LINK: "/lib/systemd/system/docker.service"},
        "systemd": True,
        "disks": [{"folders": ["/data/docker", "/var/lib/flotilla"], "free": 50, "size": 100}],
        "lock": {},
        "lock_silent": None,
        "clock": NOW - 5,
        "asked_at": NOW - 6,
        "firewall": {
            "rules": [normal(rule.split()) for rule in firewall["rules"]],
            "jumps": dict.fromkeys(JUMPS, FIRST),
        },
        "state": None,
        "registry": ["sha256:live", "sha256:old"],
        "served": "",
        "certificate": "",
    }
    if host in GROUPS["load_balancers"]:
        pulled = "10.0.0.1:5000/flotilla/nginx@sha256:1"
        result |= {
            "containers": {"flotilla-nginx": container(NGINX, pulled, "sha256:nginx")},
            "images": {pulled: "sha256:nginx"},
            "state": {**STATE, "version": "v1"},
            "served": "v1",
        }
        result["files"] |= {CONFIGURATION_FILE: "f00:0400:10002", STATE_FILE: "5a7e:0600:0"}
    if any(machine(INVENTORY, node) == machine(INVENTORY, host) for node in GROUPS["model_nodes"]):
        result["network"] = {
            "subnet": SUBNET,
            "options": {**OPTIONS, "com.docker.network.driver.mtu": "1500"},
        }
    for node in GROUPS["model_nodes"]:
        if machine(INVENTORY, node) == machine(INVENTORY, host):
            service = endpoint_service(INVENTORY, node, LIVE, "green")  # type: ignore[arg-type]
            result["containers"][container_name(node, "green")] = container(
                dict(service), REFERENCE, "sha256:model"
            )
            result["images"] |= {REFERENCE: "sha256:model", OLD["reference"]: "sha256:old"}
    return result


def fleet() -> dict[str, dict[str, Any]]:
    """The hosts' variables of a fleet in which nothing differs, to be changed by a test."""
    hostvars = {
        host: {
            **variables,
            "flotilla_machine": found(host),
            "registry_endpoint": REGISTRIES[0],
            "registry_push_endpoint": REGISTRIES[1],
            "internal_ca_issued": issued(),
        }
        for host, variables in INVENTORY.items()
    }
    for host in GROUPS["load_balancers"]:
        hostvars[host]["nginx_lb_wanted"] = {
            "services": [NGINX],
            "files": {},
            "configuration": "f00:0400:10002",
            "serves": "v1",
        }
    builder = hostvars["lb1"]["flotilla_machine"]["images"]
    builder |= {"10.0.0.1:5080/flotilla/nginx:abc": "sha256:nginx"}
    return copy.deepcopy(hostvars)


def compared(
    hostvars: dict[str, dict[str, Any]],
    *,
    state: dict[str, Any] | None = STATE,
    present: list[str] = HOSTS,
    in_scope: list[str] = HOSTS,
    groups: dict[str, list[str]] = GROUPS,
) -> list[Difference]:
    """Compare a fleet."""
    return differences(Fleet.of(hostvars, groups, in_scope, present, state, NOW))  # type: ignore[arg-type]


def days_from_now(days: int) -> datetime.datetime:
    """A time so many days ahead."""
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)

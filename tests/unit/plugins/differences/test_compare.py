"""Each kind of difference, made in a fleet in which nothing else differs, is named once, and with what mends it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.fleet.plugins.module_utils.firewall_rules import FIRST, JUMPS
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.compare import differences_step
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.network import OPTIONS, SUBNET
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.units import ENGINE_FILE, ENGINE_LINK
from ansible_collections.flotilla.fleet.plugins.plugin_utils.firewall import LINKS
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import SPECS

from unit.plugins.differences.fleet import (
    CONFIGURATION_FILE,
    GROUPS,
    HOSTS,
    LIVE,
    NOW,
    OLD,
    REFERENCE,
    STATE,
    STATE_FILE,
    UP,
    authority,
    compared,
    fleet,
)

ROLES = Path(__file__).parents[4] / "roles"
HostVars = dict[str, dict[str, Any]]
SITE = "site.yml"
ENDPOINT = "flotilla-node1-green"


def container(hostvars: HostVars, name: str = ENDPOINT, host: str = "node1") -> dict[str, Any]:
    found: dict[str, Any] = hostvars[host]["flotilla_machine"]["containers"][name]
    return found


def test_a_fleet_as_it_is_wanted_has_no_difference() -> None:
    assert compared(fleet()) == []


Break = Callable[[HostVars], object]


def machine(host: str, **changes: Any) -> Break:
    return lambda hostvars: hostvars[host]["flotilla_machine"].update(changes)


def endpoint(**changes: Any) -> Break:
    return lambda hostvars: container(hostvars).update(changes)


def settings(**changes: Any) -> Break:
    return lambda hostvars: container(hostvars)["settings"].update(changes)


def nginx(**changes: Any) -> Break:
    return lambda hostvars: container(hostvars, "flotilla-nginx", "lb2").update(changes)


def drop(part: str, key: str, host: str = "node1") -> Break:
    return lambda hostvars: hostvars[host]["flotilla_machine"][part].pop(key)


def put(part: str, key: str, value: Any, host: str = "node1") -> Break:
    return lambda hostvars: hostvars[host]["flotilla_machine"][part].update({key: value})


MEMORY = SPECS["model_endpoint"]["model_endpoint_memory"]["default"]
FIREWALL_LINK = next(iter(LINKS))
SERVER = "/etc/flotilla/endpoints/node1/server.pem"
HOLDER = {"user": "alice", "controller": "desk", "pid": 7, "playbook": "site.yml", "time": "2027-01-01T00:00"}
RUN = "alice@desk (process 7, site.yml, since 2027-01-01T00:00)"
UNEXPLAINED = {"running": True, "labels": {"flotilla.role": "endpoint"}, "settings": {"ports": []}}
TIME_SERVICE = "timedatectl set-ntp true on node2"
CASES: dict[str, tuple[Break, str, str, str, str]] = {
    "engine": (machine("node2", engine=False), "node2", "Docker engine", "no answer", SITE),
    "old engine": (
        machine("node2", engine_version="19.03.1"),
        "node2",
        "Docker engine",
        "version 19.03.1",
        "the upgrade of the Docker engine on node2",
    ),
    "clock ahead": (machine("node2", clock=NOW + 9), "node2", "clock", "9 s ahead", TIME_SERVICE),
    "clock behind": (machine("node2", clock=NOW - 66), "node2", "clock", "60 s behind", TIME_SERVICE),
    "disk": (
        lambda hostvars: hostvars["cohosted"]["flotilla_machine"]["disks"][0].update(free=5),
        "cohosted",
        "disk of /data/docker and /var/lib/flotilla",
        "5.0 % free, 0.0 GB",
        "",
    ),
    "certificate": (drop("files", SERVER), "cohosted", f"certificate {SERVER}", "missing", SITE),
    "certificate's mode": (
        lambda hostvars: put("files", SERVER, mode_of(hostvars, SERVER, "0644"))(hostvars),
        "cohosted",
        f"certificate {SERVER}",
        "mode 0644",
        SITE,
    ),
    "firewall's rules": (
        lambda hostvars: hostvars["node2"]["flotilla_machine"]["firewall"]["rules"].append(
            "-A FLOTILLA -j ACCEPT"
        ),
        "node2",
        "firewall: the rules of chain FLOTILLA",
        "-A FLOTILLA -j ACCEPT",
        SITE,
    ),
    "firewall's jump": (
        lambda hostvars: hostvars["node2"]["flotilla_machine"]["firewall"]["jumps"].update(FORWARD="missing"),
        "node2",
        "firewall: the jump from FORWARD to DOCKER-USER",
        "missing",
        SITE,
    ),
    "firewall's link": (
        drop("links", FIREWALL_LINK),
        "cohosted",
        f"link {FIREWALL_LINK}",
        "missing",
        SITE,
    ),
    "engine's unit": (drop("links", ENGINE_LINK), "cohosted", "unit docker.service", "not enabled", SITE),
    "container missing": (
        drop("containers", ENDPOINT),
        "node1",
        f"container {ENDPOINT}",
        "missing",
        SITE,
    ),
    "container stopped": (endpoint(running=False), "node1", f"container {ENDPOINT}", "stopped", SITE),
    "container's image": (
        endpoint(image_id="sha256:other", image="other:1"),
        "node1",
        f"container {ENDPOINT}",
        "image other:1",
        SITE,
    ),
    "container's port": (
        settings(ports=["10.0.0.11:5001:5001"]),
        "node1",
        f"container {ENDPOINT}",
        "ports ['10.0.0.11:5001:5001']",
        SITE,
    ),
    "container's mounts": (settings(volumes=[]), "node1", f"container {ENDPOINT}", "volumes []", SITE),
    "container's environment": (
        lambda hostvars: container(hostvars)["settings"]["environment"].update(FLOTILLA_WORKERS="9"),
        "node1",
        f"container {ENDPOINT}",
        "environment {'FLOTILLA_WORKERS': '9'}",
        SITE,
    ),
    "container's limit": (settings(memory=1 << 20), "node1", f"container {ENDPOINT}", "memory 1048576", SITE),
    "container's label": (
        lambda hostvars: container(hostvars)["labels"].update({"flotilla.slot": "blue"}),
        "node1",
        f"container {ENDPOINT}",
        "labels {'flotilla.slot': 'blue'}",
        SITE,
    ),
    "container's health": (
        endpoint(health="unhealthy"),
        "node1",
        f"container {ENDPOINT}",
        "unhealthy",
        SITE,
    ),
    "retired container": (
        lambda hostvars: put("containers", "flotilla-node1-blue", container(hostvars))(hostvars),
        "node1",
        "container flotilla-node1-blue",
        "running",
        SITE,
    ),
    "nginx": (
        nginx(image="10.0.0.1:5000/flotilla/nginx@sha256:2"),
        "lb2",
        "container flotilla-nginx",
        "image 10.0.0.1:5000/flotilla/nginx@sha256:2",
        SITE,
    ),
    "file": (
        lambda hostvars: hostvars["lb2"]["nginx_lb_wanted"]["files"].update({"/etc/f": "a:0400:1"}),
        "lb2",
        "file /etc/f",
        "missing",
        SITE,
    ),
    "served configuration": (
        machine("lb2", served="v0"),
        "lb2",
        "configuration of Nginx",
        "serves v0",
        SITE,
    ),
    "Nginx away": (machine("lb2", served=""), "lb2", "configuration of Nginx", "serves nothing", SITE),
    "nginx.conf": (
        put("files", CONFIGURATION_FILE, "other:0400:10002", "lb2"),
        "lb2",
        "configuration of Nginx",
        "content other",
        SITE,
    ),
    "nginx.conf that everybody may read": (
        put("files", CONFIGURATION_FILE, "f00:0644:0", "lb2"),
        "lb2",
        "configuration of Nginx",
        "mode 0644, owner 0",
        SITE,
    ),
    "nginx.conf away": (
        drop("files", CONFIGURATION_FILE, "lb2"),
        "lb2",
        "configuration of Nginx",
        "missing",
        SITE,
    ),
    "state": (machine("lb2", state={"serial": 3}), "lb2", "state of the fleet", "number 3", SITE),
    "state that everybody may read": (
        put("files", STATE_FILE, "5a7e:0644:0", "lb2"),
        "lb2",
        f"file {STATE_FILE}",
        "mode 0644",
        SITE,
    ),
    "network": (
        lambda hostvars: hostvars["node2"]["flotilla_machine"]["network"]["options"].pop(
            "com.docker.network.bridge.enable_icc"
        ),
        "node2",
        "network flotilla",
        "com.docker.network.bridge.enable_icc missing",
        "docker network rm flotilla on node2, once its nodes are drained and their containers removed, and "
        "playbooks/undrain.yml",
    ),
    "image": (
        drop("images", REFERENCE, "node2"),
        "node2",
        f"image {REFERENCE}",
        "missing",
        SITE,
    ),
    "registry": (machine("lb1", registry=["sha256:old"]), "lb1", "registry", "missing", SITE),
    "unneeded image": (
        put("images", REFERENCE.replace("live", "left"), "sha256:left", "node2"),
        "node2",
        f"image {REFERENCE.replace('live', 'left')}",
        "in the engine",
        SITE,
    ),
    "unexplained container": (
        put("containers", "flotilla-gone-blue", UNEXPLAINED, "node2"),
        "node2",
        "container flotilla-gone-blue",
        "running",
        "docker rm --force flotilla-gone-blue",
    ),
    "lock": (
        machine("lb2", lock=HOLDER, lock_silent=49.0),
        "lb2",
        "deploy lock",
        f"held by a run whose last sign of life is 49 s old: {RUN}",
        "",
    ),
    "lock of a dead run": (
        machine("lb2", lock=HOLDER, lock_silent=50.0),
        "lb2",
        "deploy lock",
        f"held by a run that is dead or cut off, 50 s without a sign of life: {RUN}",
        SITE,
    ),
    "lock of a run without signs of life": (
        machine("lb2", lock=HOLDER),
        "lb2",
        "deploy lock",
        f"held by a run that gives no signs of life: {RUN}",
        "playbooks/unlock.yml, if that run is gone",
    ),
    "settings": (
        lambda hostvars: hostvars["node2"].update(model_endpoint_memory="3g"),
        "node2",
        "settings of the live release",
        f"memory {MEMORY}",
        SITE,
    ),
}


def mode_of(hostvars: HostVars, path: str, mode: str) -> str:
    """The state of a file with another mode."""
    digest, _, owner = hostvars["cohosted"]["flotilla_machine"]["files"][path].split(":")
    return f"{digest}:{mode}:{owner}"


@pytest.mark.parametrize("kind", CASES)
def test_a_difference_is_named_with_what_mends_it(kind: str) -> None:
    make, host, thing, found, mended_by = CASES[kind]
    hostvars = fleet()
    # One machine has one result, whichever of its hosts it is read by.
    hostvars["cohosted"]["flotilla_machine"] = hostvars["node1"]["flotilla_machine"]
    make(hostvars)
    (difference,) = compared(hostvars)
    told = (difference["host"], difference["thing"], difference["found"], difference["mended_by"])
    assert told == (host, thing, found, mended_by)
    assert difference["wanted"] not in ("", difference["found"])
    # A run that mends it does something that can be said, unless the plan's own sentence says it.
    assert bool(difference["change"]) == (mended_by == SITE) or kind == "settings"


def test_a_certificate_of_another_authority_one_that_ends_soon_and_a_damaged_one_are_told_apart() -> None:
    foreign = issue(make_authority("fleet"), "endpoint-node1", "server")
    ending = issue(authority("fleet"), "endpoint-node1", "server", days=20)
    damaged = "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n"
    for certificate, found in (
        (certificate_pem(foreign[0]), "of another authority"),
        (certificate_pem(ending[0]), "ends in 19 days"),
        (damaged, "damaged"),
    ):
        hostvars = fleet()
        machine_found = hostvars["cohosted"]["flotilla_machine"]
        machine_found["files"][SERVER] = "other:0400:10001"
        machine_found["certificates"][SERVER] = certificate
        (difference,) = compared(hostvars)
        assert difference["found"] == found


def test_the_certificate_that_clients_see_is_named_before_it_ends() -> None:
    hostvars, until_now = fleet(), round((NOW - time.time()) / 86400)
    for days in (20, 400):
        shown = issue(authority("fleet"), "frontend-lb1", "server", days=until_now + days)[0]
        hostvars["lb1"]["flotilla_machine"]["certificate"] = certificate_pem(shown)
        found = [difference["found"].partition(" (")[0] for difference in compared(hostvars)]
        assert found in ([["ends in 19 days"], ["ends in 20 days"]] if days == 20 else [[]])


def test_certificates_that_cannot_be_compared_do_not_look_fine() -> None:
    hostvars = fleet()
    for variables in hostvars.values():
        variables["internal_ca_issued"] = {"msg": "no authority here"}
    (difference,) = compared(hostvars)
    assert difference["found"] == "not looked at: no authority here"


def test_a_host_that_was_not_inspected_does_not_look_fine() -> None:
    (difference,) = compared(fleet(), present=[host for host in HOSTS if host != "node2"])
    assert (difference["host"], difference["found"]) == ("node2", "not looked at")


def test_without_a_load_balancer_the_state_is_not_known_and_the_balancers_are_named() -> None:
    hostvars, nodes = fleet(), GROUPS["model_nodes"]
    found = differences_step(hostvars, GROUPS, HOSTS, nodes, NOW)
    assert [(entry["host"], entry["found"]) for entry in found] == [
        ("lb1", "not looked at"),
        ("lb2", "not looked at"),
    ]
    assert differences_step(hostvars, GROUPS, HOSTS, HOSTS, NOW) == []


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        ({"node2": {**UP, "status": "down", "reason": "away"}}, ("node2", "down: away")),
        ({"node2": None}, ("node2", "not in the traffic yet")),
        ({"gone": UP}, ("gone", "in the state of the load balancers")),
    ],
)
def test_a_node_that_the_state_has_otherwise_than_the_inventory_is_named(
    nodes: dict[str, Any], found: tuple[str, str]
) -> None:
    merged = {**STATE["nodes"], **nodes}
    state = {**STATE, "nodes": {node: entry for node, entry in merged.items() if entry}}
    (difference,) = compared(fleet(), state=state)
    assert (difference["host"], difference["found"]) == found


def test_rules_that_a_machine_no_longer_needs_are_named() -> None:
    hostvars, rule = fleet(), "-A FLOTILLA -p tcp -j DROP"
    hostvars["lb2"]["flotilla_machine"]["firewall"] = {"rules": [rule], "jumps": dict.fromkeys(JUMPS, FIRST)}
    found = {entry["thing"]: (entry["host"], entry["wanted"], entry["found"]) for entry in compared(hostvars)}
    assert found["firewall: the rules of chain FLOTILLA"] == ("lb2", "no other rule", rule)
    # They guard the ports of a node that has left until its container is gone.
    left = {**UNEXPLAINED, "settings": {"ports": ["10.0.0.2:5001:5001/tcp"]}}
    put("containers", "flotilla-gone-blue", left, "lb2")(hostvars)
    assert [entry["thing"] for entry in compared(hostvars)] == ["container flotilla-gone-blue"]


def test_with_a_limit_the_containers_of_a_machines_other_nodes_are_explained() -> None:
    limited = [host for host in HOSTS if host != "cohosted"]
    assert "flotilla-cohosted-green" in fleet()["node1"]["flotilla_machine"]["containers"]
    assert compared(fleet(), present=limited, in_scope=limited) == []


def test_what_a_node_left_is_removed_by_a_run_and_the_node_is_named_until_then() -> None:
    hostvars = fleet()
    left = {**UNEXPLAINED, "labels": {"flotilla.role": "endpoint", "flotilla.endpoint": "gone"}}
    put("containers", "flotilla-gone-blue", left, "node2")(hostvars)
    state = {**STATE, "forgotten": [{"node": "gone", "machine": "10.0.0.12"}]}
    container_left, node = compared(hostvars, state=state)
    assert (container_left["thing"], container_left["mended_by"]) == ("container flotilla-gone-blue", SITE)
    assert (node["host"], node["found"]) == ("gone", "not looked at: what it left on 10.0.0.12")


def test_of_a_release_of_another_version_only_whether_it_runs_is_compared() -> None:
    other = copy.deepcopy(STATE)
    other["live"]["settings"]["common"]["recipe"] = "other"
    hostvars = fleet()
    container(hostvars)["settings"]["memory"] = 1
    assert compared(hostvars, state=other) == []
    container(hostvars)["running"] = False
    assert [entry["found"] for entry in compared(hostvars, state=other)] == ["stopped"]


def test_a_candidate_s_containers_are_to_run_as_well() -> None:
    candidate = {"release": OLD, "percent": 5, "shadow": 0, "nodes": ["node1"]}
    (difference,) = compared(fleet(), state={**STATE, "candidate": candidate})
    assert (difference["host"], difference["thing"]) == ("node1", "container flotilla-node1-blue")


def test_an_endpoint_that_a_load_balancer_cannot_use_is_named_with_it() -> None:
    hostvars = fleet()
    ready = {"ready": True, "error": ""}
    for balancer, seen in {"lb1": ready, "lb2": {"ready": False, "error": "timed out"}}.items():
        item = {"slot": "green", "release": LIVE["id"], "endpoints": []}
        hostvars[balancer]["release_probes"] = {"results": [{"item": item, "endpoints": {"node1": seen}}]}
    (difference,) = compared(hostvars)
    assert (difference["host"], difference["thing"]) == ("node1", f"endpoint of {LIVE['id']}")
    assert difference["found"] == "lb2: timed out"


def test_before_the_first_release_that_alone_is_named() -> None:
    state = {**STATE, "live": None, "nodes": {}}
    (difference,) = compared(fleet(), state=state)
    assert (difference["host"], difference["found"]) == ("lb1", "nothing is live")


def test_the_network_is_compared_with_what_the_role_makes() -> None:
    tasks = yaml.safe_load((ROLES / "model_endpoint/tasks/run.yml").read_text())
    (made,) = (made for task in tasks if (made := task.get("community.docker.docker_network")))
    assert (made["ipam_config"], made["driver_options"]) == ([{"subnet": SUBNET}], OPTIONS)


def test_the_inspection_looks_at_what_is_compared() -> None:
    text = (ROLES.parent / "playbooks/inspect.yml").read_text()
    for path in (ENGINE_FILE, ENGINE_LINK, STATE_FILE):
        assert f"'{path}'" in text

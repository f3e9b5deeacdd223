"""Differences of many kinds, made by hand: status names each, one run mends them under load, and then there is none."""

import json
import shlex
from pathlib import Path

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    key_pem,
    make_authority,
)

from fleet.deploy import FAILED, FINE, configurations, deploy, state
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.machine import Machine, wait_until
from fleet.ports import REGISTRY, REGISTRY_PUSH
from fleet.status import status

HOLDER: dict[str, object] = {
    "user": "nobody",
    "controller": "elsewhere",
    "playbook": "site.yml",
    "time": "2026-11-27T00:00:00+00:00",
}
HOLDER |= {"pid": 1, "started": "0", "pid_space": "0"}
LOCK = "/var/lib/flotilla/lock.json"
NGINX, STATE = "/etc/flotilla/nginx/nginx.conf", "/var/lib/flotilla/state.json"
SERVER_1, SERVER_2 = (f"/etc/flotilla/endpoints/{node}/server.pem" for node in ("node1", "node2"))
ENGINE_LINK = "/etc/systemd/system/multi-user.target.wants/docker.service"
TIMER = "flotilla-firewall.timer"
TIMER_LINK = f"/etc/systemd/system/timers.target.wants/{TIMER}"


def live_container(fleet: Fleet, node: Machine) -> str:
    """Return the name of the container that serves on a node."""
    return f"flotilla-{node.name}-{state(fleet, fleet.load_balancer.name)['live_slot']}"


def leave_image(builder: Machine, node: Machine) -> str:
    """Give a node an image of the model endpoint that no release needs, as an interrupted run does."""
    repository, image = "flotilla/model-endpoint", "left"
    pushed = f"{builder.address}:{REGISTRY_PUSH}/{repository}:{image}"
    small = builder.run("docker", "inspect", "--format", "{{.Image}}", "flotilla-nginx").strip()
    builder.run("docker", "tag", small, pushed)
    (digest,) = (
        line.split()[2]
        for line in builder.run("docker", "push", pushed).splitlines()
        if line.startswith(f"{image}: digest: ")
    )
    builder.run("docker", "image", "rm", pushed)
    pulled = f"{builder.address}:{REGISTRY}/{repository}@{digest}"
    node.run("docker", "pull", pulled)
    return pulled


def serve_other_configuration(balancer: Machine, version: str) -> None:
    """Have a load balancer serve a configuration that tells another version than `version`."""
    other = "0" * len(version)
    balancer.run("sed", "--in-place", f"s/{version}/{other}/", NGINX)
    balancer.run("docker", "kill", "--signal", "HUP", "flotilla-nginx")
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8090/_lb/version').read().decode())"
    wait_until("Nginx serves it", lambda: balancer.run("python3", "-c", ask).strip() == other)


def break_containers(fleet: Fleet) -> set[tuple[str, str]]:
    """Make differences of containers, their certificates and images, and return what status has to name."""
    node1, node2 = fleet.machine("node1"), fleet.machine("node2")
    stopped, limited = live_container(fleet, node2), live_container(fleet, node1)
    client_key = f"/etc/docker/certs.d/{fleet.builder.address}:{REGISTRY}/client.key"

    node2.run("docker", "stop", stopped)
    node1.run("docker", "update", "--memory", "700m", "--memory-swap", "700m", limited)
    node1.run("chmod", "0644", SERVER_1)
    certificate, key = issue(make_authority("fleet"), "endpoint-node2", "server")
    node2.run("tee", SERVER_2, stdin=key_pem(key) + certificate_pem(certificate))
    image = node2.run("docker", "inspect", "--format", "{{.Image}}", stopped).strip()
    node2.run("docker", "create", "--name", "flotilla-left-blue", "--label", "flotilla.role=endpoint", image)
    left = leave_image(fleet.builder, node1)
    node2.run("rm", client_key)
    return {
        ("node2", f"container {stopped}"),
        ("node2", f"endpoint of {state(fleet, fleet.load_balancer.name)['live']['id']}"),
        ("node1", f"container {limited}"),
        ("node1", f"certificate {SERVER_1}"),
        ("node2", f"certificate {SERVER_2}"),
        ("node2", f"certificate {client_key}"),
        ("node1", f"image {left}"),
        ("node2", "container flotilla-left-blue"),
    }


def break_machines(fleet: Fleet) -> set[tuple[str, str]]:
    """Make differences of firewalls, units, files, Nginx and the lock, and return what status has to name."""
    lb1, lb2 = fleet.load_balancers
    node1, node2 = fleet.machine("node1"), fleet.machine("node2")
    # Else the rules may come back by themselves before status sees that they are gone.
    for node in (node1, node2):
        node.run("systemctl", "stop", TIMER)
    node2.run("iptables", "--wait", "--delete", "FORWARD", "--jump", "DOCKER-USER")
    node1.run("iptables", "--wait", "--flush", "FLOTILLA")
    node1.run("rm", TIMER_LINK)
    lb2.run("rm", ENGINE_LINK)
    lb2.run("sh", "-c", f"echo '# by hand' >>{NGINX}")
    lb2.run("docker", "update", "--memory", "400m", "--memory-swap", "400m", "flotilla-nginx")
    lb2.run("sed", "--in-place", 's/"serial": [0-9]*/"serial": 0/', STATE)
    lb2.run("sh", "-c", f"echo {shlex.quote(json.dumps(HOLDER))} >{LOCK}")
    lb1.run("chmod", "0644", STATE)
    lb1.run("chmod", "0600", "/etc/flotilla/registry/pull.yml")
    serve_other_configuration(lb1, configurations(fleet)[0])
    return {
        ("node2", "firewall: the jump from FORWARD to DOCKER-USER"),
        ("node1", "firewall: the rules of chain FLOTILLA"),
        ("node1", f"link {TIMER_LINK}"),
        ("lb2", "unit docker.service"),
        ("lb2", "configuration of Nginx"),
        ("lb2", "container flotilla-nginx"),
        ("lb2", "state of the fleet"),
        ("lb2", "deploy lock"),
        ("lb1", f"file {STATE}"),
        ("lb1", "file /etc/flotilla/registry/pull.yml"),
        ("lb1", "configuration of Nginx"),
    }


@pytest.fixture(scope="module")
def made(fleet: Fleet) -> set[tuple[str, str]]:
    """The differences that were made."""
    return break_containers(fleet) | break_machines(fleet)


def test_a_fleet_as_it_was_deployed_does_not_differ(fleet: Fleet, tmp_path: Path) -> None:
    assert status(fleet, tmp_path) == (FINE, {})


def test_each_difference_is_seen(fleet: Fleet, made: set[tuple[str, str]], tmp_path: Path) -> None:
    code, found = status(fleet, tmp_path, docker_engine_free_percent=100)
    disks = {(host, thing) for host, thing in found if thing.startswith("disk of ")}
    assert found.keys() == made | disks
    assert {host for host, _ in disks} == {"lb1", "lb2", "node1", "node2"}
    assert found["node2", f"certificate {SERVER_2}"]["found"] == "of another authority"
    assert code == FAILED


def test_check_mode_says_what_would_be_done(fleet: Fleet, made: set[tuple[str, str]]) -> None:
    assert made
    fleet.machine("lb2").run("rm", LOCK)
    fleet.machine("node2").run("docker", "rm", "flotilla-left-blue")
    said = deploy(fleet, "site.yml", None, "--check")
    assert said.code == FINE, said.output[-6000:]
    live_slot = state(fleet, fleet.load_balancer.name)["live_slot"]
    # Whatever shows the results of tasks may break lines.
    told = " ".join(said.output.split())
    for change in (
        f"in the {'green' if live_slot == 'blue' else 'blue'} slots and get all requests",
        f"write the certificate {SERVER_1}",
        "write the state of the fleet",
        "reload Nginx",
        "replace the container flotilla-nginx",
        "enable the unit docker.service",
        "put the jump from FORWARD to DOCKER-USER first",
    ):
        assert change in told, f"{change}: {said.output[-6000:]}"


def test_one_run_mends_them_and_loses_nothing(
    fleet: Fleet, made: set[tuple[str, str]], tmp_path: Path
) -> None:
    assert made
    # Through the load balancer whose Nginx is not replaced.
    with under_load(fleet.urls[:1]) as load:
        repaired = deploy(fleet)
        load.during(2)
    assert repaired.code == FINE, repaired.output[-6000:]
    load.record().assert_nothing_lost()
    again = deploy(fleet)
    assert (again.code, again.changed) == (FINE, 0), again.output[-6000:]
    assert status(fleet, tmp_path) == (FINE, {})
    said = deploy(fleet, "site.yml", None, "--check")
    assert "nothing would change" in said.output

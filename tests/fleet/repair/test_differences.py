"""Differences of many kinds, made by hand: status names each, one run mends them under load, and then there is none."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from fleet.deploy import FAILED, FINE, deploy, state
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.machine import Machine

HOLDER: dict[str, object] = {
    "user": "nobody",
    "controller": "elsewhere",
    "playbook": "site.yml",
    "time": "2026-11-27T00:00:00+00:00",
}
HOLDER |= {"pid": 1, "started": "0", "pid_space": "0"}
LOCK = "/var/lib/flotilla/lock.json"
NGINX = "/etc/flotilla/nginx/nginx.conf"


def status(fleet: Fleet, folder: Path, **settings: Any) -> tuple[int, set[tuple[str, str]]]:
    """Return the exit code of status.yml, and host and thing of each difference that its JSON has."""
    file = folder / "status.json"
    outcome = deploy(fleet, "playbooks/status.yml", status_file=str(file), **settings)
    assert file.exists(), outcome.output[-6000:]
    found = json.loads(file.read_text())["differences"]
    for difference in found:
        assert difference["wanted"] != difference["found"]
    return outcome.code, {(difference["host"], difference["thing"]) for difference in found}


def live_container(fleet: Fleet, node: Machine) -> str:
    """Return the name of the container that serves on a node."""
    return f"flotilla-{node.name}-{state(fleet, fleet.load_balancer.name)['live_slot']}"


def break_all(fleet: Fleet) -> set[tuple[str, str]]:
    """Make a difference of each kind, and return what status has to name."""
    lb1, lb2 = fleet.load_balancers
    node1, node2 = fleet.machine("node1"), fleet.machine("node2")
    stopped, limited = live_container(fleet, node2), live_container(fleet, node1)
    client_key = f"/etc/docker/certs.d/{fleet.builder.address}:5000/client.key"
    server = "/etc/flotilla/endpoints/node1/server.pem"
    engine = "/etc/systemd/system/multi-user.target.wants/docker.service"

    node2.run("docker", "stop", stopped)
    node1.run("docker", "update", "--memory", "700m", "--memory-swap", "700m", limited)
    node1.run("chmod", "0644", server)
    node2.run("rm", client_key)
    node2.run("iptables", "--wait", "--delete", "FORWARD", "--jump", "DOCKER-USER")
    node1.run("iptables", "--wait", "--flush", "FLOTILLA")
    lb2.run("sh", "-c", f"echo '# by hand' >>{NGINX}")
    lb2.run("docker", "update", "--memory", "400m", "--memory-swap", "400m", "flotilla-nginx")
    lb2.run("rm", engine)
    lb1.run("chmod", "0600", "/etc/flotilla/registry/pull.yml")
    image = node2.run("docker", "inspect", "--format", "{{.Image}}", stopped).strip()
    node2.run("docker", "create", "--name", "flotilla-left-blue", "--label", "flotilla.role=endpoint", image)
    lb2.run("sh", "-c", f"echo {shlex.quote(json.dumps(HOLDER))} >{LOCK}")
    release = state(fleet, lb1.name)["live"]["id"]
    return {
        ("node2", f"container {stopped}"),
        ("node2", f"endpoint of {release}"),
        ("node1", f"container {limited}"),
        ("node1", f"certificate {server}"),
        ("node2", f"certificate {client_key}"),
        ("node2", "firewall: the jump from FORWARD to DOCKER-USER"),
        ("node1", "firewall: the rules of chain FLOTILLA"),
        ("lb2", "configuration of Nginx"),
        ("lb2", "container flotilla-nginx"),
        ("lb2", "unit docker.service"),
        ("lb1", "file /etc/flotilla/registry/pull.yml"),
        ("node2", "container flotilla-left-blue"),
        ("lb2", "deploy lock"),
    }


@pytest.fixture(scope="module")
def made(fleet: Fleet) -> set[tuple[str, str]]:
    """The differences that were made."""
    return break_all(fleet)


def test_a_fleet_as_it_was_deployed_does_not_differ(fleet: Fleet, tmp_path: Path) -> None:
    assert status(fleet, tmp_path) == (FINE, set())


def test_each_difference_is_seen(fleet: Fleet, made: set[tuple[str, str]], tmp_path: Path) -> None:
    disks = {
        (host, f"disk of {folder}")
        for host in ("lb1", "lb2", "node1", "node2")
        for folder in ("/var/lib/docker", "/var/lib/flotilla")
    }
    code, found = status(fleet, tmp_path, docker_engine_free_percent=100)
    assert found == made | disks
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
        "write the certificate /etc/flotilla/endpoints/node1/server.pem",
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
    assert status(fleet, tmp_path) == (FINE, set())
    said = deploy(fleet, "site.yml", None, "--check")
    assert "nothing would change" in said.output

"""What goes wrong on a host or in a build is said with its place and its fix, and the fleet goes on serving.

These come before the fleet grows: node4 is a bare machine, and each test leaves it as it was.
"""

import re
import shutil
from pathlib import Path

from fleet.fleet import Fleet
from fleet.machine import wait_until
from fleet.playbook import PROJECT, refusal, run_playbook

NODES: dict[str, dict[str, int]] = {
    "node1": {"model_endpoint_weight": 3},
    "node2": {},
    "node3": {},
    "node4": {},
}


def test_a_distribution_without_a_docker_package_is_named(fleet: Fleet) -> None:
    grown = fleet.with_nodes(NODES)
    node = grown.machine("node4")
    release = node.run("cat", "/etc/os-release")
    assert 'VERSION_ID="' in release
    node.run("tee", "/etc/os-release", stdin=re.sub('VERSION_ID=".*"', 'VERSION_ID="11"', release))
    said = refusal("site.yml", grown.inventory, "--limit", "node4")
    node.run("tee", "/etc/os-release", stdin=release)
    assert "node4: no Docker engine answers on /run/docker.sock, and none is known for debian-11" in said
    assert "install Docker CE there" in said


def test_a_disk_too_full_for_the_image_is_named(fleet: Fleet) -> None:
    grown = fleet.with_nodes(NODES)
    node = grown.machine("node4")
    node.run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", "/var/lib/docker")
    said = refusal("site.yml", grown.inventory, "--limit", "node4")
    node.run("systemctl", "stop", "docker.socket", "docker")
    node.run("umount", "/var/lib/docker")
    assert re.search(
        r"node4: flotilla/model-endpoint:\w+ needs [\d.]+ MB in /var/lib/docker, and [\d.]+ MB are free", said
    )
    fleet.assert_shares()


def test_a_port_of_another_process_is_named_with_the_process(fleet: Fleet) -> None:
    balancer = fleet.load_balancer
    balancer.run("docker", "stop", "flotilla-nginx")
    balancer.run("systemd-run", "--unit", "squatter", "python3", "-m", "http.server", "80")
    wait_until("a stranger has port 80", lambda: 80 in balancer.listening_ports())
    said = refusal("site.yml", fleet.inventory, "--limit", "load_balancers")
    balancer.run("systemctl", "stop", "squatter")
    assert re.search(r"lb1: port 80 \(nginx_lb_port\) is taken by python3 \(process \d+\)", said)
    run_playbook("site.yml", fleet.inventory, "--limit", "load_balancers")
    fleet.assert_shares()


def test_a_broken_model_fails_the_build_and_changes_no_endpoint(fleet: Fleet, tmp_path: Path) -> None:
    source = tmp_path / "model_endpoint"
    shutil.copytree(PROJECT / "model_endpoint", source)
    model = source / "models" / "iris" / "model.skops"
    model.write_bytes(model.read_bytes()[:100])
    said = refusal("site.yml", fleet.inventory, "--extra-vars", f"model_image_source={source}")
    assert (
        f"could not be built from {source} and the models in {source}/models. What runs stays as it is."
        in said
    )
    assert "models/iris" in said
    fleet.assert_shares()

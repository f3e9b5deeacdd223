"""What no run of site.yml mends, or mends by other containers: status names it with what does, until it is undone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.deploy import FAILED, FINE, deploy, state
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.machine import Machine, wait_until
from fleet.playbook import run_playbook
from fleet.status import status

SOCKET, ASIDE = "/run/docker.sock", "/run/docker.sock.aside"
OLD_ENGINE = Path(__file__).with_name("old_engine.py")
AHEAD = 100


@pytest.fixture(scope="module")
def node(fleet: Fleet) -> Machine:
    return fleet.machine("node2")


@pytest.fixture(scope="module")
def unhealthy(fleet: Fleet, node: Machine) -> str:
    """The name of the container that serves on the node, all of whose processes are frozen."""
    container = f"flotilla-{node.name}-{state(fleet, fleet.load_balancer.name)['live_slot']}"
    node.run("kill", "-STOP", *node.run("docker", "top", container, "-eo", "pid").split()[1:])
    health = "docker", "inspect", "--format", "{{.State.Health.Status}}", container
    wait_until("the engine finds it", lambda: node.run(*health) == "unhealthy\n", timeout_seconds=120)
    return container


@contextmanager
def old_engine(node: Machine) -> Iterator[None]:
    """Have the engine of a node tell the version of an old one."""
    node.run("mv", SOCKET, ASIDE)
    node.run("sh", "-c", "cat >/run/old_engine.py", stdin=OLD_ENGINE.read_text())
    node.run(
        "sh", "-c", f"setsid --fork python3 /run/old_engine.py {ASIDE} {SOCKET} </dev/null >/dev/null 2>&1"
    )
    try:
        wait_until("the stand-in answers", lambda: node.attempt(["docker", "ps"]).returncode == 0)
        yield
    finally:
        node.run("mv", "--force", ASIDE, SOCKET)  # the stand-in ends when its socket is another


@contextmanager
def clock_ahead(node: Machine) -> Iterator[None]:
    """Set the clock of Python on a node: the kernel's is that of all the test's machines and of the controller."""
    (place,) = node.run(
        "python3", "-c", "import sys; print('/etc/python%d.%d' % sys.version_info[:2])"
    ).split()
    file = f"{place}/sitecustomize.py"
    before = node.run("cat", file)
    shifted = f"import time; time.time = lambda now=time.time: now() + {AHEAD}\n"
    node.run("tee", file, stdin=before + shifted)
    try:
        yield
    finally:
        node.run("tee", file, stdin=before)


def test_an_old_engine_a_wrong_clock_a_missing_image_and_an_unhealthy_endpoint_are_named(
    fleet: Fleet, node: Machine, unhealthy: str, tmp_path: Path
) -> None:
    release = state(fleet, fleet.load_balancer.name)["live"]["id"]
    image = node.run("docker", "inspect", "--format", "{{.Config.Image}}", unhealthy).strip()
    node.run("docker", "image", "rm", "--force", image)
    with old_engine(node), clock_ahead(node):
        code, found = status(fleet, tmp_path)
    assert code == FAILED
    assert {host for host, _ in found} == {node.name}
    named = {thing: (entry["found"], entry["mended_by"]) for (_, thing), entry in found.items()}
    ahead, time_service = named.pop("clock")
    assert AHEAD - 30 < int(ahead.removesuffix(" s ahead")) <= AHEAD
    assert time_service == f"timedatectl set-ntp true on {node.name}"
    seen, logs = named.pop(f"endpoint of {release}")
    assert all(f"{balancer.name}: " in seen for balancer in fleet.load_balancers)
    assert logs == f"playbooks/logs.yml -e node={node.name}, which shows why"
    assert named == {
        "Docker engine": ("version 19.03.15", f"the upgrade of the Docker engine on {node.name}"),
        f"image {image}": ("missing", "site.yml"),
        f"container {unhealthy}": ("unhealthy", "site.yml"),
    }


def test_a_run_replaces_the_endpoint_and_loses_nothing_and_then_nothing_differs(
    fleet: Fleet, node: Machine, unhealthy: str, tmp_path: Path
) -> None:
    with under_load(fleet.urls) as load:
        repaired = deploy(fleet)
        load.during(2)
    repaired.assert_ended(FINE, "released")
    assert f"{unhealthy} is not as its release wants it (unhealthy)" in repaired.verdict["message"]
    load.record().assert_nothing_lost()
    # It has had the image brought along. Without a release, a run fetches the image alone.
    (image,) = {container["Config"]["Image"] for container in node.containers()}
    node.run("docker", "image", "rm", "--force", image)
    assert {host for host, tasks in run_playbook("site.yml", fleet.inventory).items() if tasks} == {node.name}
    again = deploy(fleet)
    assert (again.code, again.changed) == (FINE, 0), again.output[-6000:]
    # The engine and the clock, which were put right by hand, among the rest.
    assert status(fleet, tmp_path) == (FINE, {})

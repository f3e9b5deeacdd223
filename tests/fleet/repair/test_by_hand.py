"""What no run of site.yml mends, or mends by other containers: status names it with what does, until it is undone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.deploy import FAILED, FINE, deploy, state
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.machine import Machine, wait_until
from fleet.status import status

SOCKET, ASIDE = "/run/docker.sock", "/run/docker.sock.aside"
OLD_ENGINE = Path(__file__).with_name("old_engine.py")
AHEAD = 100


@pytest.fixture
def node(fleet: Fleet) -> Machine:
    return fleet.machine("node2")


@pytest.fixture
def container(fleet: Fleet, node: Machine) -> str:
    """The name of the container that serves on the node."""
    return f"flotilla-{node.name}-{state(fleet, fleet.load_balancer.name)['live_slot']}"


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


def test_an_old_engine_a_wrong_clock_and_a_missing_image_are_named_until_somebody_mends_them(
    fleet: Fleet, node: Machine, container: str, tmp_path: Path
) -> None:
    image = node.run("docker", "inspect", "--format", "{{.Config.Image}}", container).strip()
    node.run("docker", "image", "rm", "--force", image)
    with old_engine(node), clock_ahead(node):
        code, found = status(fleet, tmp_path)
    assert code == FAILED
    named = {thing: (entry["found"], entry["mended_by"]) for (_, thing), entry in found.items()}
    ahead = named.pop("clock")
    assert named == {
        "Docker engine": ("version 19.03.15", f"the upgrade of the Docker engine on {node.name}"),
        f"image {image}": ("missing", f"docker pull {image}"),
    }
    assert ahead[1] == f"timedatectl set-ntp true on {node.name}"
    assert AHEAD - 30 < int(ahead[0].removesuffix(" s ahead")) <= AHEAD
    assert {host for host, _ in found} == {node.name}
    node.run(*f"docker pull {image}".split())
    assert status(fleet, tmp_path) == (FINE, {})


def test_an_endpoint_that_is_not_healthy_is_replaced_and_nothing_is_lost(
    fleet: Fleet, node: Machine, container: str, tmp_path: Path
) -> None:
    release = state(fleet, fleet.load_balancer.name)["live"]["id"]
    node.run("kill", "-STOP", *node.run("docker", "top", container, "-eo", "pid").split()[1:])
    health = "docker", "inspect", "--format", "{{.State.Health.Status}}", container
    wait_until("the engine finds it", lambda: node.run(*health) == "unhealthy\n", timeout_seconds=120)
    code, found = status(fleet, tmp_path)
    assert code == FAILED
    assert found.keys() == {(node.name, f"container {container}"), (node.name, f"endpoint of {release}")}
    with under_load(fleet.urls) as load:
        repaired = deploy(fleet)
        load.during(2)
    repaired.assert_ended(FINE, "released")
    load.record().assert_nothing_lost()
    again = deploy(fleet)
    assert (again.code, again.changed) == (FINE, 0), again.output[-6000:]
    assert status(fleet, tmp_path) == (FINE, {})

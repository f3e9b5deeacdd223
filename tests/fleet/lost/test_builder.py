"""A builder that is lost is replaced by another through one line of the inventory, and the registry is filled again."""

import pytest

from fleet.deploy import FINE, deploy, state
from fleet.fleet import Fleet
from fleet.lost.machines import assert_whole, nothing_lost, replace
from fleet.machine import Machine

REGISTRY = "docker", "ps", "--all", "--quiet", "--filter", "label=flotilla.role=registry"
DIGESTS = (
    "/var/lib/flotilla/registry/docker/registry/v2/repositories/flotilla/model-endpoint/_manifests/revisions"
)


@pytest.fixture(scope="module")
def moved(fleet: Fleet) -> Fleet:
    """The fleet with the builder's line changed: the second load balancer is the builder now."""
    return fleet.with_nodes({node: {} for node in fleet.groups["model_nodes"]}, builder="lb2")


def held(builder: Machine) -> str:
    """Return what the registry of a builder holds."""
    return builder.run("ls", f"{DIGESTS}/sha256")


def started(balancer: Machine) -> str:
    return balancer.run("docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", "flotilla-nginx")


def test_another_machine_becomes_the_builder_by_one_line(fleet: Fleet, moved: Fleet) -> None:
    lost, heir = fleet.load_balancers
    before, nginx = state(fleet, heir.name), started(heir)
    with nothing_lost(heir):
        replace(lost)
        mended = deploy(moved)
    mended.assert_ended(FINE, "released")
    assert f"{heir.name}: its registry does not hold the image" in mended.verdict["message"]
    after = state(fleet, heir.name)
    assert after["live"]["reference"].startswith(f"{heir.address}:5000/")
    assert after["live"]["image"] == before["live"]["image"]
    assert after["live"]["reference"].partition("@sha256:")[2] in held(heir)
    assert_whole(moved)
    assert started(heir) == nginx, "Nginx was made anew, or restarted"


def test_a_node_that_has_lost_everything_gets_its_image_from_the_new_builder(
    fleet: Fleet, moved: Fleet
) -> None:
    node = fleet.nodes[-1]
    with nothing_lost(*fleet.load_balancers):
        replace(node)
        mended = deploy(moved)
    assert mended.code == FINE, mended.output[-6000:]
    (image,) = {container["Config"]["Image"] for container in node.containers()}
    assert image == state(fleet, "lb1")["live"]["reference"]
    assert_whole(moved)


def test_the_first_builder_takes_over_again_while_the_other_one_lives(fleet: Fleet) -> None:
    first, other = fleet.load_balancers
    nginx = [started(balancer) for balancer in fleet.load_balancers]
    assert other.run(*REGISTRY)
    with nothing_lost(first, other):
        deploy(fleet).assert_ended(FINE, "released")
    assert not other.run(*REGISTRY)
    assert state(fleet, first.name)["live"]["reference"].partition("@sha256:")[2] in held(first)
    assert_whole(fleet)
    assert [started(balancer) for balancer in fleet.load_balancers] == nginx

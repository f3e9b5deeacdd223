"""Containers may do what they must and no more."""

from fleet.confinement import violations
from fleet.fleet import Fleet


def test_containers_are_confined(fleet: Fleet) -> None:
    assert violations(fleet.machines) == []


def test_only_the_fleets_containers_run(fleet: Fleet) -> None:
    assert fleet.load_balancer.container_names() == {
        "flotilla-nginx",
        "flotilla-registry",
        "flotilla-registry-push",
    }
    for node in fleet.nodes:
        assert node.healthy_containers() == node.container_names() == {f"flotilla-{node.name}-blue"}


def test_endpoint_containers_carry_their_labels(fleet: Fleet) -> None:
    releases = set()
    for node in fleet.nodes:
        (container,) = node.containers()
        labels = container["Config"]["Labels"]
        assert labels["flotilla.role"] == "endpoint"
        assert labels["flotilla.endpoint"] == node.name
        assert labels["flotilla.slot"] == "blue"
        releases.add(labels["flotilla.release"])
    assert len(releases) == 1
    assert {fleet.get("/v2/health/ready").headers["X-Release"]} == releases


# What the endpoint imports, as its container does.
UNCOMPILED = """
import os, sys, model_endpoint.__main__
cached = (getattr(module, "__cached__", None) for module in sys.modules.values())
print(*(path for path in cached if path and not os.path.exists(path)))
"""


def test_an_endpoint_starts_without_compiling_what_it_imports(fleet: Fleet) -> None:
    for node in fleet.nodes:
        container = f"flotilla-{node.name}-blue"
        assert node.run("docker", "exec", container, "python3", "-c", UNCOMPILED).split() == []

"""Containers may do what they must and no more."""

from typing import Any

from fleet.fleet import Fleet
from fleet.machine import Machine

# By the role of the container: NET_BIND_SERVICE; NET_ADMIN and NET_RAW.
CAPABILITIES = {"load_balancer": 1 << 10, "virtual_address": 1 << 12 | 1 << 13}


def process_status(machine: Machine, container: dict[str, Any]) -> dict[str, str]:
    """Return what the kernel says of the container's first process."""
    status = machine.run("cat", f"/proc/{container['State']['Pid']}/status")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}


def faults(machine: Machine, container: dict[str, Any]) -> list[str]:
    """Return what a container is allowed, or not bounded in, that it should be."""
    role = container["Config"]["Labels"].get("flotilla.role")
    settings = container["HostConfig"]
    process = process_status(machine, container)
    capabilities = CAPABILITIES.get(role, 0)
    # Debian 12's engine drops a file's capability where no-new-privileges is set, and Nginx's right to
    # port 80 is one. The bounding set shows that there is no other to gain.
    checks = {
        "runs as root": "0" not in process["Uid"].split(),
        "has capabilities": int(process["CapEff"], 16) | capabilities == capabilities,
        "may be given capabilities": int(process["CapBnd"], 16) | capabilities == capabilities,
        "may gain privileges": process["NoNewPrivs"] == "1" or role in CAPABILITIES,
        "has a seccomp filter off": process["Seccomp"] == "2",
        "can write to its root": settings["ReadonlyRootfs"],
        "has no memory limit": settings["Memory"] > 0,
        "may swap": settings["MemorySwap"] == settings["Memory"],
        "has no pid limit": (settings["PidsLimit"] or 0) > 0,
        "has no CPU limit": settings["NanoCpus"] > 0 or role != "endpoint",
        "does not come back": settings["RestartPolicy"]["Name"] in {"always", "unless-stopped"},
        "has a log without bound": "max-size" in (settings["LogConfig"]["Config"] or {}),
        "has no health check": "Health" in container["State"] or role != "endpoint",
    }
    return [
        f"{machine.name}: {container['Name'].lstrip('/')} {fault}"
        for fault, fine in checks.items()
        if not fine
    ]


def test_containers_are_confined(fleet: Fleet) -> None:
    found = [
        fault
        for machine in fleet.machines
        for item in machine.containers()
        for fault in faults(machine, item)
    ]
    assert not found, "\n".join(found)


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

"""What a container may do, as the kernel and the engine report it."""

from collections.abc import Iterable
from typing import Any

from fleet.machine import Machine

# By the role of the container: NET_BIND_SERVICE; NET_ADMIN and NET_RAW.
CAPABILITIES = {"load_balancer": 1 << 10, "virtual_address": 1 << 12 | 1 << 13}


def violations(machines: Iterable[Machine]) -> list[str]:
    """Return a line for each right that a container of these machines has beyond its role, and each missing bound."""
    found: list[str] = []
    for machine in machines:
        containers = machine.containers()
        assert containers, f"{machine.name} runs no container, so there is nothing to look at"
        found += [line for container in containers for line in _violations_of(machine, container)]
    return found


def _process_status(machine: Machine, container: dict[str, Any]) -> dict[str, str]:
    """Return what the kernel says of the container's first process."""
    status = machine.run("cat", f"/proc/{container['State']['Pid']}/status")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}


def _violations_of(machine: Machine, container: dict[str, Any]) -> list[str]:
    """Return what a container is allowed, or not bounded in, that it should be."""
    role = container["Config"]["Labels"].get("flotilla.role")
    settings = container["HostConfig"]
    process = _process_status(machine, container)
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
        f"{machine.name}: {container['Name'].lstrip('/')} {violation}"
        for violation, fine in checks.items()
        if not fine
    ]

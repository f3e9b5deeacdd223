"""Runs on the host and on the controller: the settings of a container in one form, as wanted and as they are.

Module machine_state reads what the engine tells of a container by `inspected_settings`. Role container describes a
service by a dict, which `wanted_settings` brings into the same form. Only what decides how a container runs is
compared; its health check is not, since an image adds one of its own.
"""

from __future__ import annotations

import datetime
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}

CONFIGURATION = "/etc/flotilla/"
"""Where the files of the fleet's services are."""

ENDPOINTS_NETWORK = "flotilla"
"""The network of the endpoints' containers, from which there is no way out."""

OWN_NETWORKS = ("host", ENDPOINTS_NETWORK)
"""The networks that services name. The engine's own has several names."""

RESTART_POLICY = "unless-stopped"
LOG_DRIVER = "json-file"
LOG_FILES = "3"
LOG_SIZE = "10m"
NO_NEW_PRIVILEGES = "no-new-privileges:true"


class ContainerSettings(TypedDict):
    """How a container runs."""

    command: list[str]
    user: str
    network: str
    """"host", "flotilla" for the endpoints' network, or "bridge" for the engine's own."""
    ports: list[str]
    """ADDRESS:PORT:CONTAINER_PORT, sorted."""
    volumes: list[str]
    """SOURCE:TARGET:MODE, sorted."""
    tmpfs: dict[str, str]
    """Mount options, by path."""
    read_only: bool
    """Whether the root file system is read-only."""
    cap_drop: list[str]
    capabilities: list[str]
    """Those that are added, sorted and without the prefix CAP_."""
    security_opts: list[str]
    memory: int
    """Bytes. 0 where the kernel can't limit it, which the engine then leaves out."""
    cpus: float
    """Cores, 0 for no limit."""
    pids_limit: int
    """0 where the kernel can't limit it."""
    restart_policy: str
    log: dict[str, str]
    """The driver as `driver`, and its options."""
    environment: dict[str, str]
    """The variables, those of the image among them."""


def inspected_settings(container: Mapping[str, Any]) -> ContainerSettings:
    """Return the settings of a `container`, which is what the engine answers to /containers/ID/json."""
    config, host = container["Config"], container["HostConfig"]
    log = host.get("LogConfig") or {}
    return {
        "command": list(config.get("Cmd") or ()),
        "user": config.get("User") or "",
        "network": host["NetworkMode"] if host.get("NetworkMode") in OWN_NETWORKS else "bridge",
        "ports": sorted(
            f"{_in_brackets(binding['HostIp'])}:{binding['HostPort']}:{port.partition('/')[0]}"
            for port, bindings in (host.get("PortBindings") or {}).items()
            for binding in bindings or ()
        ),
        "volumes": sorted(_with_mode(bind) for bind in host.get("Binds") or ()),
        "tmpfs": dict(host.get("Tmpfs") or {}),
        "read_only": bool(host.get("ReadonlyRootfs")),
        "cap_drop": _capabilities(host.get("CapDrop") or ()),
        "capabilities": _capabilities(host.get("CapAdd") or ()),
        "security_opts": sorted(host.get("SecurityOpt") or ()),
        "memory": host.get("Memory") or 0,
        "cpus": (host.get("NanoCpus") or 0) / 1e9,
        "pids_limit": max(host.get("PidsLimit") or 0, 0),
        "restart_policy": (host.get("RestartPolicy") or {}).get("Name") or "",
        "log": {"driver": log.get("Type") or "", **(log.get("Config") or {})},
        "environment": dict(entry.partition("=")[::2] for entry in config.get("Env") or ()),
    }


def wanted_settings(service: Mapping[str, Any]) -> ContainerSettings:
    """Return the settings that role container gives the container of a `service`.

    Raises:
        ValueError: when the memory limit is no size such as 512m.
    """
    user, capabilities = service["user"], service.get("capabilities", ())
    return {
        "command": [str(word) for word in service.get("command", ())],
        "user": f"{user}:{user}",
        "network": service.get("network", "bridge"),
        "ports": sorted(service.get("ports", ())),
        "volumes": sorted(_with_mode(volume) for volume in service.get("volumes", ())),
        "tmpfs": dict(entry.partition(":")[::2] for entry in service.get("tmpfs", ())),
        "read_only": True,
        "cap_drop": ["ALL"],
        "capabilities": _capabilities(capabilities),
        "security_opts": [] if capabilities else [NO_NEW_PRIVILEGES],
        "memory": size_in_bytes(service["memory"]),
        "cpus": float(service.get("cpus", 0)),
        "pids_limit": int(service["pids_limit"]),
        "restart_policy": RESTART_POLICY,
        "log": {"driver": LOG_DRIVER, "max-file": LOG_FILES, "max-size": service.get("log_size", LOG_SIZE)},
        "environment": {name: str(value) for name, value in service.get("env", {}).items()},
    }


def different_settings(found: Mapping[str, Any], wanted: ContainerSettings) -> list[str]:
    """Return the names of the settings in which a container differs from `wanted`, sorted.

    A limit of 0 is one that the kernel of the machine can't set; a new container would have none either. A variable
    of the environment that is not wanted is the image's.
    """
    return sorted(name for name, value in wanted.items() if not _is_as_wanted(name, found.get(name), value))


def _is_as_wanted(name: str, found: Any, wanted: Any) -> bool:
    if name in {"memory", "pids_limit"} and found == 0:
        return True
    if name == "environment":
        return all((found or {}).get(variable) == value for variable, value in wanted.items())
    return bool(found == wanted)


def has_newer_files(container: Mapping[str, Any], configuration: str = CONFIGURATION) -> bool:
    """Return whether a file below `configuration` that `container` mounts read-only is newer than its start."""
    started = seconds_of(container["State"]["StartedAt"])
    return any(
        path.is_file() and path.stat().st_mtime > started
        for bind in (container["HostConfig"].get("Binds") or ())
        if "ro" in bind.rpartition(":")[2].split(",") and bind.startswith(configuration)
        for path in pathlib.Path(bind.partition(":")[0]).rglob("*")
    )


def seconds_of(time: str) -> float:
    """Return a time as the engine writes it, "2025-01-01T12:00:00.123456789Z" for one, in seconds since the epoch.

    Python before 3.11 reads neither a Z nor nine digits of a second.
    """
    whole, _, rest = time.partition(".")
    zone = re.search(r"(Z|[+-][0-9]{2}:[0-9]{2})$", time)
    offset = "" if zone is None else zone[1].replace("Z", "+00:00")
    fraction = re.match("[0-9]+", rest)
    begun = datetime.datetime.fromisoformat(f"{whole[:19]}{offset or '+00:00'}")
    return begun.timestamp() + (float(f"0.{fraction[0]}") if fraction else 0.0)


def size_in_bytes(size: str | int) -> int:
    """Return the bytes of a `size` in Docker's notation, such as 512m.

    Raises:
        ValueError: when it is none.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kmgt]?)(?:i?b)?", str(size).strip().lower())
    if not found:
        raise ValueError(f"{size!r} is no size: write it as a number and a unit, such as 512m")
    return int(float(found[1]) * UNITS[found[2]])


def _capabilities(names: Sequence[str]) -> list[str]:
    """Newer engines write CAP_NET_ADMIN, older ones NET_ADMIN as they were told."""
    return sorted(name.removeprefix("CAP_") for name in names)


def _with_mode(volume: str) -> str:
    return volume if volume.count(":") > 1 else f"{volume}:rw"


def _in_brackets(address: str) -> str:
    return f"[{address}]" if ":" in address else address

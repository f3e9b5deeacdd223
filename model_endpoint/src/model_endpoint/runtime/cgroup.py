"""The memory limit of the endpoint's container, as the kernel tells it inside. Runs in a worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
NO_LIMIT = 1 << 60
"""Version 1 says "no limit" by a number near 2^63."""


@dataclass(frozen=True)
class MemoryControl:
    """What a container may use, in bytes, and how many of its processes were killed for want of memory.

    Either is None where it is not known, or there is none.
    """

    limit: int | None
    kills: int | None


def memory_control(folder: Path = CGROUPS) -> MemoryControl:
    """Read the control group of this container, of version 2 or 1.

    Docker shows a container its own group only: on version 2 at the root, on version 1 at the controller's folder.
    """
    if (folder / "cgroup.controllers").exists():
        return MemoryControl(_limit(folder / "memory.max"), _kills(folder / "memory.events"))
    memory = folder / "memory"
    return MemoryControl(_limit(memory / "memory.limit_in_bytes"), _kills(memory / "memory.oom_control"))


def _limit(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.isdigit() and int(text) < NO_LIMIT else None


def _kills(file: Path) -> int | None:
    counts = (line.split() for line in _text(file).splitlines())
    return next((int(count) for name, count in counts if name == "oom_kill"), None)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""

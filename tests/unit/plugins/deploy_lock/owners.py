"""The runs that own locks in these tests."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.flotilla.fleet.plugins.module_utils.lock_owner import Owner

OLDER = (
    '{"user": "ann", "controller": "desk", "pid": 1, "started": 100, "pid_space": "here",'
    ' "time": "2024-01-02T03:04:05+00:00", "playbook": "site.yml"}\n'
)
"""What versions 0.1 and 0.2 wrote into lock.json."""


def owner(number: int = 1) -> Owner:
    return {
        "user": "ann",
        "controller": "desk",
        "pid": number,
        "time": "2024-01-02T03:04:05+00:00",
        "playbook": "site.yml",
        "run": f"run{number}",
    }


def uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def beat(folder: Path, run: str = "run1", seconds_ago: float = 0) -> str:
    """Write a sign of life, and return it."""
    text = f"{run} {uptime() - seconds_ago:.2f}"
    (folder / "lock.beat").write_text(f"{text}\n")
    return text

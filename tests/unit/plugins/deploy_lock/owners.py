"""The runs that own locks in these tests."""

from __future__ import annotations

from typing import Any


def owner(pid: int = 1, **different: Any) -> dict[str, Any]:
    return {
        "user": "ann",
        "controller": "desk",
        "pid": pid,
        "started": 100,
        "pid_space": "here",
        "time": "2024-01-02T03:04:05+00:00",
        "playbook": "site.yml",
        **different,
    }

"""Runs on the controller and on load balancers: the run that holds a deploy lock, and its last sign of life."""

from __future__ import annotations

import json
import pathlib
import time
from typing import TypedDict

LOCK_FOLDER = pathlib.Path("/var/lib/flotilla")
LOCK = "lock.json"
BEAT = "lock.beat"
UPTIME = pathlib.Path("/proc/uptime")


class _OwnerOfAnyVersion(TypedDict):
    user: str
    controller: str
    pid: int
    time: str
    """When it acquired the lock, in ISO 8601, UTC."""
    playbook: str


# Not NotRequired, which Python has since 3.11: module machine_state runs on machines with an older one, to say so.
class Owner(_OwnerOfAnyVersion, total=False):
    """A run. Version 0.2.0 wrote `started` and `pid_space` as well, and no `run`."""

    run: str
    """What tells this run from every other. The signs of life of a run bear it."""


class Silence(TypedDict):
    """A run and the last sign of life that was seen of it."""

    run: str
    beat: str


def same_run(one: Owner, other: Owner) -> bool:
    """Tell whether two owners are the same run."""
    return "run" in one and one["run"] == other.get("run")


def describe(owner: Owner) -> str:
    """Return the run `owner` in words."""
    return "{user}@{controller} (process {pid}, {playbook}, since {time})".format(**owner)


def read_holder(lock: pathlib.Path) -> Owner | None:
    """Return the run that holds `lock`, None when no run does. Of a lock that can't be read, it is unknown."""
    try:
        text, written = lock.read_text(encoding="utf-8", errors="replace"), lock.stat().st_mtime
    except FileNotFoundError:
        return None
    since = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(written))
    unknown: Owner = {
        "user": "unknown",
        "controller": "unknown",
        "pid": 0,
        "time": since,
        "playbook": "unknown",
    }
    try:
        holder = json.loads(text)
    except ValueError:
        return unknown
    return {**unknown, **holder} if isinstance(holder, dict) else unknown


def read_beat(directory: pathlib.Path, holder: Owner | None) -> tuple[str, float | None]:
    """Return the last sign of life of `holder`, and how many seconds ago it was; "" and None when there is none.

    It tells the uptime of then. After a restart of this machine, the holder has been silent since the restart.
    """
    try:
        beat = (directory / BEAT).read_text(encoding="utf-8").strip()
        run, at = beat.split()
        uptime, then = float(UPTIME.read_text(encoding="ascii").split()[0]), float(at)
    except (FileNotFoundError, ValueError):
        return "", None
    if holder is None or holder.get("run") != run:
        return "", None
    return beat, uptime - then if uptime >= then else uptime

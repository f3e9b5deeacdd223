"""Runs on the controller and on load balancers: the run that holds a deploy lock, as lock.json names it."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Owner(TypedDict):
    """A run. Version 0.2.0 wrote `started` and `pid_space` as well, and no `run`."""

    user: str
    controller: str
    pid: int
    time: str
    """When it acquired the lock, in ISO 8601, UTC."""
    playbook: str
    run: NotRequired[str]
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

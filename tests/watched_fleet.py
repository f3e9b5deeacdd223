"""A fleet with a monitoring host, for the unit tests of what concerns metrics."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import EMPTY_STATE
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    Candidate,
    NodeEntry,
    Release,
    State,
)

import small_fleet

GROUPS = {**small_fleet.GROUPS, "monitoring": ["watch"]}
HOSTVARS: dict[str, dict[str, Any]] = {**small_fleet.HOSTVARS, "watch": {"ansible_host": "10.0.0.50"}}


def release(name: str, since: int = 1000) -> Release:
    """A release that says of node1 and node2 where they publish."""
    nodes: dict[str, dict[str, Any]] = {
        "node1": {"address": "10.0.0.11"},
        "node2": {"address": "10.0.0.12", "port": 6001},
    }
    return {
        "id": name,
        "image": "i",
        "reference": "r",
        "settings": {"common": {"port": 5001}, "nodes": nodes},
        "since": since,
    }


def entry(status: str = "up") -> NodeEntry:
    return {"status": status, "share": 100, "since": 0, "reason": ""}


def state(**changes: Any) -> State:
    """A state in which release r1 is live on both nodes, except for `changes`."""
    nodes = {"node1": entry(), "node2": entry()}
    found: State = {**EMPTY_STATE, "live": release("r1"), "nodes": nodes}
    return {**found, **changes}  # type: ignore[typeddict-item]


def candidate(name: str, nodes: list[str]) -> Candidate:
    return {"release": release(name, 2000), "percent": 5.0, "shadow": 0.0, "nodes": nodes}

"""Runs on the controller: the endpoints whose metrics are collected, for load balancers and for Prometheus alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import published_address
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars, Release, State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import other_slot


class ScrapedEndpoint(TypedDict):
    """An endpoint whose metrics are collected, and where load balancers find it."""

    name: str
    """The node."""
    slot: str
    release: str
    live: bool
    """Whether this is the live release's slot."""
    address: str
    port: int


def scraped_endpoints(hostvars: HostVars, nodes: Sequence[str], state: State) -> list[ScrapedEndpoint]:
    """Return the endpoints that should run by the state, in the inventory's order: first those of the live release.

    Drained nodes are among them, for their endpoints run, and so are those that are down, for that is to be seen.
    `nodes` are those of the inventory.
    """
    if state["live"] is None:
        return []
    found = _of_slot(hostvars, nodes, state["nodes"].keys(), state["live"], state["live_slot"], live=True)
    if candidate := state["candidate"]:
        slot = other_slot(state["live_slot"])
        found += _of_slot(hostvars, nodes, set(candidate["nodes"]), candidate["release"], slot, live=False)
    return found


def _of_slot(
    hostvars: HostVars, nodes: Sequence[str], members: Collection[str], release: Release, slot: str, *, live: bool
) -> list[ScrapedEndpoint]:
    return [
        {
            "name": node,
            "slot": slot,
            "release": release["id"],
            "live": live,
            "address": place["address"],
            "port": place["port"],
        }
        for node in nodes
        if node in members
        for place in [published_address(hostvars, release, node, slot)]
    ]

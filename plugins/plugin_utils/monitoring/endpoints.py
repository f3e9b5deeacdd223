"""Runs on the controller: the endpoints whose metrics are collected, for load balancers and for Prometheus alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import published_address
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars, State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import other_slot


class ScrapedEndpoint(TypedDict):
    """An endpoint whose metrics are collected, and where load balancers find it."""

    name: str
    """The node."""
    slot: str
    release: str
    live: bool
    """Whether this is the live release's slot."""
    status: str
    """up or down: whether the node takes requests, unless it is drained."""
    address: str
    port: int


def scraped_endpoints(hostvars: HostVars, nodes: Sequence[str], state: State) -> list[ScrapedEndpoint]:
    """Return the endpoints that should run by the state, in the inventory's order: first those of the live release.

    Drained nodes are among them, for their endpoints run, and so are those that are down, for that is to be seen.
    `nodes` are those of the inventory.
    """
    if state["live"] is None:
        return []
    statuses = {node: entry["status"] for node, entry in state["nodes"].items()}
    members = [(state["live"], state["live_slot"], True, set(state["nodes"]))]
    if candidate := state["candidate"]:
        members.append((candidate["release"], other_slot(state["live_slot"]), False, set(candidate["nodes"])))
    return [
        {
            "name": node,
            "slot": slot,
            "release": release["id"],
            "live": live,
            # A candidate's nodes may be new to the state.
            "status": statuses.get(node, "up"),
            "address": place["address"],
            "port": place["port"],
        }
        for release, slot, live, own in members
        for node in nodes
        if node in own
        for place in [published_address(hostvars, release, node, slot)]
    ]

"""Runs on the controller: what machines have, and no line of the inventory explains."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    container_name,
    image_builder,
    virtual_address,
)

SLOTS = ("blue", "green")


def unexplained_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the containers that no line of the inventory explains, and the nodes that only the state knows."""
    for host, cohosted in fleet.machines.items():
        explained = {name for member in cohosted for name in _containers_of(fleet, member)}
        for name in sorted(fleet.found(host)["containers"].keys() - explained):
            yield {
                "host": host,
                "thing": f"container {name}",
                "wanted": "no such container: no line of the inventory explains it",
                "found": "running" if fleet.found(host)["containers"][name]["running"] else "stopped",
                "mended_by": SITE,
                "change": f"remove the container {name}",
            }
    for node in sorted((fleet.state or {"nodes": {}})["nodes"].keys() - {*fleet.groups["model_nodes"]}):
        yield {
            "host": node,
            "thing": "traffic",
            "wanted": "no requests: the inventory has no such node",
            "found": "in the state of the load balancers",
            "mended_by": SITE,
            "change": f"take {node} out of the traffic",
        }


def _containers_of(fleet: Fleet, host: str) -> list[str]:
    """Return the names of the containers that `host` may have."""
    names = []
    if host in fleet.groups["model_nodes"]:
        names += [container_name(host, slot) for slot in SLOTS]
    if host in fleet.groups["load_balancers"]:
        names.append("flotilla-nginx")
        if virtual_address(fleet.hostvars, fleet.groups):
            names.append("flotilla-keepalived")
    if host == image_builder(fleet.groups):
        names += ["flotilla-registry", "flotilla-registry-push"]
    return names

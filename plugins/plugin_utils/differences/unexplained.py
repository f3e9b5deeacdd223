"""Runs on the controller: what machines have, and no line of the inventory explains."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.leftovers import COLLECTING, TELLING
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.registry import REGISTRY
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    ACME_CONTAINER,
    EXPORTER_CONTAINER,
    KEEPALIVED_CONTAINER,
    MONITORING_CONTAINERS,
    NGINX_CONTAINER,
    REGISTRY_CONTAINERS,
    SLOTS,
    container_name,
    image_builder,
    monitoring_host,
    virtual_address,
)


def unexplained_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the containers that no line of the inventory explains, and the nodes that only the state knows."""
    forgotten = {entry["node"] for entry in fleet.state.get("forgotten", [])} if fleet.state else set()
    for host in fleet.machines:
        # The inventory's other hosts of the machine as well, of which a run with --limit is not.
        explained = {name for member in fleet.hosts_of(host) for name in _containers_of(fleet, member)}
        found = fleet.found(host)["containers"]
        for name in sorted(found.keys() - explained):
            # site.yml removes what collected metrics, the registry of a former builder, and what nodes have left that
            # were in the fleet; it does not know who made another one.
            labels = found[name]["labels"]
            left = labels.get("flotilla.endpoint") in forgotten
            left = left or labels.get("flotilla.role") in COLLECTING | TELLING | {REGISTRY}
            yield {
                "host": host,
                "thing": f"container {name}",
                "wanted": "no such container: no line of the inventory explains it",
                "found": "running" if found[name]["running"] else "stopped",
                "mended_by": SITE if left else f"docker rm --force {name}",
                "change": f"remove the container {name}" if left else "",
            }
    yield from _nodes(fleet)


def _nodes(fleet: Fleet) -> Iterator[Difference]:
    """Yield the nodes that only the state knows: those in the traffic, and those that have left something."""
    if fleet.state is None:
        return
    for node in sorted(fleet.state["nodes"].keys() - {*fleet.groups["model_nodes"]}):
        yield {
            "host": node,
            "thing": "traffic",
            "wanted": "no requests: the inventory has no such node",
            "found": "in the state of the load balancers",
            "mended_by": SITE,
            "change": f"take {node} out of the traffic",
        }
    for entry in fleet.state.get("forgotten", []):
        yield {
            "host": entry["node"],
            "thing": "node that has left the inventory",
            "wanted": "nothing left of it",
            "found": f"not looked at: what it left on {entry['machine'] or 'its machine'}",
            "mended_by": f"{SITE}, or playbooks/remove_node.yml -e node={entry['node']}",
            "change": "",
        }


def _containers_of(fleet: Fleet, host: str) -> list[str]:
    """Return the names of the containers that `host` may have."""
    names = []
    if host in fleet.groups["model_nodes"]:
        names += [container_name(host, slot) for slot in SLOTS]
    if host in fleet.groups["load_balancers"]:
        names.append(NGINX_CONTAINER)
        if virtual_address(fleet.hostvars, fleet.groups):
            names.append(KEEPALIVED_CONTAINER)
        if setting(fleet.hostvars, host, "nginx_lb_tls") == "acme":
            names.append(ACME_CONTAINER)
    if host == image_builder(fleet.groups):
        names += REGISTRY_CONTAINERS
    if monitor := monitoring_host(fleet.groups):
        names.append(EXPORTER_CONTAINER)
        names += MONITORING_CONTAINERS if host == monitor else ()
    return names

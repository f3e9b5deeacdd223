"""Runs on the controller: what Prometheus collects metrics from, as files that it reads again when they change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict, cast

from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import File
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.endpoints import scraped_endpoints
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars as ReleaseHostVars
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars, setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    drained_nodes,
    fleet_hosts,
    host_address,
    image_builder,
    machines,
    monitoring_host,
    virtual_address,
    with_port,
)

FOLDER = "/etc/flotilla/prometheus/targets"

PATH = "__metrics_path__"
"""The label by which a target says where its metrics are; Prometheus keeps it to itself."""


class Targets(TypedDict):
    """Targets with the same labels, in the form of Prometheus' files."""

    targets: list[str]
    labels: dict[str, str]


def target_files(
    hostvars: HostVars,
    groups: Groups,
    state: State,
    registry: str = "",
    removed: str = "",
    folder: str = FOLDER,
) -> list[File]:
    """Return a file of targets for each job, named after it.

    `registry` is where machines pull images, ADDRESS:PORT; without it, a run that does not know, there is no file for
    the job. `removed` is the node that the run has removed, whose line the inventory may still have.
    """
    hosts = [host for host in fleet_hosts(groups) if host != removed]
    first = _first_hosts(hostvars, hosts)
    port = int(setting(hostvars, monitoring_host(groups), "node_exporter_port"))
    found = {
        "endpoints": list(_endpoints(hostvars, groups, state, removed, first)),
        "load_balancers": [
            _target(
                _metrics_address(hostvars, balancer),
                {"instance": balancer, "load_balancer": balancer, "machine": first[balancer]},
            )
            for balancer in groups["load_balancers"]
        ],
        "machines": [
            _target(with_port(host_address(hostvars, host), port), {"instance": host, "machine": host})
            for host in sorted(set(first.values()))
        ],
    }
    if registry:
        found["registry"] = [_target(registry, {"instance": image_builder(groups)})]
    return [{"path": f"{folder}/{job}.json", "content": _text(targets)} for job, targets in found.items()]


def _endpoints(
    hostvars: HostVars, groups: Groups, state: State, removed: str, first: Mapping[str, str]
) -> Iterator[Targets]:
    """Yield the endpoints, each by a load balancer that asks it: the one with the virtual address, else by turns."""
    nodes = [node for node in groups["model_nodes"] if node != removed]
    ways = [(balancer, _metrics_address(hostvars, balancer)) for balancer in groups["load_balancers"]]
    if virtual := virtual_address(hostvars, groups):
        port = _metrics_port(hostvars, groups["load_balancers"][0])
        ways = [("virtual address", with_port(virtual, port))]
    drained = set(drained_nodes(hostvars, nodes, state))
    for position, endpoint in enumerate(scraped_endpoints(cast("ReleaseHostVars", hostvars), nodes, state)):
        name, slot = endpoint["name"], endpoint["slot"]
        through, address = ways[position % len(ways)]
        labels = {
            PATH: f"/endpoints/{name}/{slot}/metrics",
            "instance": f"{name}-{slot}",
            "endpoint": name,
            "slot": slot,
            "release": endpoint["release"],
            "live": "yes" if endpoint["live"] else "no",
            "state": "drained" if name in drained else endpoint["status"],
            "machine": first[name],
            "through": through,
        }
        yield _target(address, labels)


def _first_hosts(hostvars: HostVars, hosts: Sequence[str]) -> dict[str, str]:
    """Return the first host of the machine of each of `hosts`, which stands for the machine."""
    return {entry["host"]: entry["first"] for entry in machines(hostvars, hosts)}


def _metrics_address(hostvars: HostVars, balancer: str) -> str:
    """Return where a load balancer serves metrics, as ADDRESS:PORT."""
    return with_port(host_address(hostvars, balancer, "nginx_lb_address"), _metrics_port(hostvars, balancer))


def _metrics_port(hostvars: HostVars, balancer: str) -> int:
    return int(setting(hostvars, balancer, "nginx_lb_metrics_port"))


def _target(address: str, labels: dict[str, str]) -> Targets:
    return {"targets": [address], "labels": labels}


def _text(targets: Sequence[Targets]) -> str:
    return json.dumps(targets, indent=1, sort_keys=True) + "\n"

"""Runs on the controller: what a person wants to see of a fleet: what runs where, and what has been done to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.health import (
    Seen,
    faults_of,
    seen_endpoints,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Difference
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import Container, State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars, setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.status_images import (
    ImageStatus,
    image_statuses,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    container_name,
    drained_nodes,
    holds_address,
    other_slot,
    virtual_address,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.watch import (
    Figures,
    Sample,
    figures,
    merge_samples,
)
from cryptography import x509

LOG_SECONDS = 60
"""How far back status.yml reads the access logs."""

T = TypeVar("T", int, float)

NOT_LOOKED_AT = "not looked at"


class NodeStatus(TypedDict):
    """What a node runs, and how it is. Times are seconds since the epoch."""

    state: str
    """up, down, drained, that the node is not in the traffic, or that no load balancer was looked at."""
    reason: str
    weight: int
    share: int
    live: str
    """The release in the live slot; in brackets where the container is stopped."""
    staged: str
    """The release in the other slot."""
    reached: bool
    health: str
    """ready, or what a load balancer finds wrong; empty where none sends requests."""
    in_flight: int | None
    requests_per_second: float
    failure_share: float
    certificate_end: float | None
    last_seen: float | None
    """Now where the node was reached or answers, else when it last answered a request that a log still has."""


class BalancerStatus(TypedDict):
    """What a load balancer serves: the version of its configuration, and the virtual address if it holds that."""

    asked: bool
    """Whether the run is about it, which --limit decides."""
    reached: bool
    serves: str
    holds: str
    certificate_end: float | None


class Candidate(TypedDict):
    """The candidate, its share of the requests, and the share of which it gets copies, in percent."""

    release: str
    percent: float
    shadow: float


class FleetStatus(TypedDict):
    """What runs where, and what differs from what is wanted."""

    time: float
    live_slot: str
    live: str
    candidate: Candidate | None
    previous: list[str]
    lock: str
    """The run that holds the deploy lock, or empty."""
    traffic: dict[str, Figures]
    """The requests of the last LOG_SECONDS, by release."""
    load_balancers: dict[str, BalancerStatus]
    nodes: dict[str, NodeStatus]
    images: dict[str, ImageStatus] | None
    """The images of Debian packages that run; None where the builder was not reached."""
    differences: list[Difference]


def fleet_status(
    hostvars: HostVars,
    groups: Groups,
    in_scope: Sequence[str],
    reached: Sequence[str],
    state: State,
    samples: Sequence[Sample],
    older_samples: Sequence[Sample],
    differences: Sequence[Difference],
    now: float,
) -> FleetStatus:
    """Return what runs where.

    `in_scope` are the hosts that the run is about, `reached` those that could be inspected. `samples` are the load
    balancers' answers to module access_log about the last LOG_SECONDS, `older_samples` those about a longer time,
    where a node was not reached.
    """
    sample = merge_samples(samples)
    candidate = state["candidate"]
    slots = {state["live_slot"]: state["live"]} if state["live"] else {}
    if candidate:
        slots[other_slot(state["live_slot"])] = candidate["release"]
    return {
        "time": now,
        "live_slot": state["live_slot"],
        "live": state["live"]["id"] if state["live"] else "",
        "candidate": {
            "release": candidate["release"]["id"],
            "percent": candidate["percent"],
            "shadow": candidate["shadow"],
        }
        if candidate
        else None,
        "previous": [release["id"] for release in state["previous"]],
        "lock": next((entry["found"] for entry in differences if entry["thing"] == "deploy lock"), ""),
        "traffic": {
            release["id"]: figures(sample["slots"][slot])
            for slot, release in slots.items()
            if slot in sample["slots"]
        },
        "load_balancers": {
            name: _balancer_status(hostvars, name, name in in_scope, name in reached)
            for name in groups["load_balancers"]
        },
        "nodes": _nodes(hostvars, groups, reached, state, sample, merge_samples(older_samples), now),
        "images": image_statuses(hostvars, groups, reached),
        "differences": list(differences),
    }


def _nodes(
    hostvars: HostVars,
    groups: Groups,
    reached: Sequence[str],
    state: State,
    sample: Sample,
    older: Sample,
    now: float,
) -> dict[str, NodeStatus]:
    balancers = [name for name in groups["load_balancers"] if name in reached]
    drained, seen = drained_nodes(hostvars, groups["model_nodes"], state), seen_endpoints(hostvars, balancers)
    nodes: dict[str, NodeStatus] = {}
    for node in groups["model_nodes"]:
        own = seen.get(node, {})
        nodes[node] = _node_status(hostvars, node, node in reached, node in drained, state, own, sample)
        if not balancers:  # whose state tells it
            nodes[node]["state"] = NOT_LOOKED_AT
        answers = nodes[node]["reached"] or nodes[node]["health"] == "ready"
        nodes[node]["last_seen"] = now if answers else _last_answer(older, node)
    return nodes


def status_step(
    hostvars: HostVars, groups: Groups, in_scope: Sequence[str], present: Sequence[str], now: float
) -> FleetStatus:
    """Return fleet_status of what playbooks/status.yml has found out: facts of the hosts that are `present`."""
    facts = hostvars[present[0]]
    balancers = [hostvars[host] for host in groups["load_balancers"] if host in present]
    samples, older = (
        [log["sample"] for variables in balancers if "sample" in (log := variables.get(name, {}))]
        for name in ("release_access_log", "release_older_log")
    )
    state: State = facts["release_state"]
    differences = facts["flotilla_differences"]
    return fleet_status(hostvars, groups, in_scope, present, state, samples, older, differences, now)


def _machine(hostvars: HostVars, host: str) -> Mapping[str, Any]:
    """Return what was found on the machine of `host`, empty where nothing was."""
    found: Mapping[str, Any] = hostvars[host].get("flotilla_machine", {})
    return found


def _node_status(
    hostvars: HostVars,
    node: str,
    reached: bool,
    drained: bool,
    state: State,
    seen: Mapping[str, Mapping[str, Seen]],
    sample: Sample,
) -> NodeStatus:
    """Return the status of a node. `seen` is by release and load balancer."""
    containers = _machine(hostvars, node).get("containers", {}) if reached else {}
    entry, slot = state["nodes"].get(node), state["live_slot"]
    live = seen.get(state["live"]["id"] if state["live"] else "", {}).values()
    counts = sample["endpoints"].get(node, {"requests": 0, "failures": 0, "last": 0.0})
    return {
        "state": "drained" if drained else entry["status"] if entry else "not in the traffic",
        "reason": entry["reason"] if entry else "",
        "weight": int(setting(hostvars, node, "model_endpoint_weight")),
        "share": entry["share"] if entry else 0,
        "live": _release(containers.get(container_name(node, slot))),
        "staged": _release(containers.get(container_name(node, other_slot(slot)))),
        "reached": reached,
        "health": _health(seen, takes_traffic=bool(entry and entry["status"] == "up" and not drained)),
        "in_flight": max(_known(found.get("in_flight") for found in live), default=None),
        "requests_per_second": counts["requests"] / LOG_SECONDS,
        "failure_share": counts["failures"] / counts["requests"] if counts["requests"] else 0.0,
        "certificate_end": min(_known(found.get("certificate_end") for found in live), default=None),
        "last_seen": None,
    }


def _last_answer(sample: Sample, node: str) -> float | None:
    """Return when `node` last answered a request, as far as the logs tell."""
    counts = sample["endpoints"].get(node)
    return counts["last"] if counts else None


def _known(values: Iterable[T | None]) -> list[T]:
    return [value for value in values if value is not None]


def _health(seen: Mapping[str, Mapping[str, Seen]], *, takes_traffic: bool) -> str:
    """Return how the endpoints of a node are, as the load balancers see them now."""
    if not seen:
        return NOT_LOOKED_AT if takes_traffic else ""
    return "; ".join(fault for views in seen.values() for fault in faults_of(views)) or "ready"


def _balancer_status(hostvars: HostVars, name: str, asked: bool, reached: bool) -> BalancerStatus:
    """Return the status of a load balancer."""
    found = _machine(hostvars, name) if reached else {}
    holds = reached and holds_address(hostvars, name)
    return {
        "asked": asked,
        "reached": reached,
        "serves": str(found.get("served", "")),
        "holds": virtual_address(hostvars, {"load_balancers": [name]}) if holds else "",
        "certificate_end": _end(str(found.get("certificate", ""))),
    }


def _end(certificate: str) -> float | None:
    """Return when a certificate in PEM form expires, in seconds since the epoch; None where there is none."""
    if not certificate:
        return None
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.timestamp()


def _release(container: Container | None) -> str:
    """Return the release in a container; in brackets if the container is stopped, for a rollback to start."""
    release = container["labels"].get("flotilla.release", "") if container else ""
    return release if not container or container["running"] or not release else f"({release})"

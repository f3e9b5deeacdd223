"""Runs on the controller: what a person wants to see of a fleet: what runs where, and what has been done to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import Container, State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars, setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    container_name,
    drained_nodes,
    holds_address,
    other_slot,
    virtual_address,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.watch import Sample
from cryptography import x509

COLUMNS = ("node", "state", "weight", "live", "staged", "health", "in flight", "last seen")

WARNING_DAYS = 30
"""How many days before a certificate expires the warnings begin."""


class NodeStatus(TypedDict):
    """What a node runs, and how it is. Times are seconds since the epoch."""

    state: str
    """up, down, drained, or that the node is not in the traffic."""
    reason: str
    weight: int
    share: int
    live: str
    """The release in the live slot; in brackets where the container is stopped."""
    staged: str
    """The release in the other slot."""
    reached: bool
    health: str
    in_flight: int | None
    certificate_end: float | None
    last_seen: float | None


class BalancerStatus(TypedDict):
    """What a load balancer serves: the version of its configuration, and the virtual address if it holds that."""

    reached: bool
    serves: str
    holds: str
    certificate_end: float | None


class Canary(TypedDict):
    """The candidate and its share of the requests."""

    release: str
    percent: float


class FleetStatus(TypedDict):
    """What runs where."""

    time: float
    live_slot: str
    live: str
    candidate: Canary | None
    previous: list[str]
    load_balancers: dict[str, BalancerStatus]
    nodes: dict[str, NodeStatus]
    warnings: list[str]


class EndpointHealth(TypedDict, total=False):
    """What module endpoint_probe found out about one endpoint, as far as a person wants to know."""

    ready: bool
    in_flight: int | None
    certificate_end: float | None
    error: str


def fleet_status(
    hostvars: HostVars,
    groups: Groups,
    reached: Sequence[str],
    state: State,
    probed: Mapping[str, EndpointHealth],
    samples: Sequence[Sample],
    now: float,
) -> FleetStatus:
    """Return what runs where.

    `reached` are the hosts that could be inspected; `probed` is what a load balancer found when it asked the live
    endpoints; `samples` are the load balancers' answers to module access_log.
    """
    drained = drained_nodes(hostvars, groups["model_nodes"], state)
    nodes = {
        node: _node_status(hostvars, node, node in reached, node in drained, state, probed.get(node, {}))
        for node in groups["model_nodes"]
    }
    for node, found in nodes.items():
        found["last_seen"] = _last_seen(node, found, samples, now)
    candidate = state["candidate"]
    inspected = [name for name in groups["load_balancers"] if name in reached]
    shown = {name: str(_machine(hostvars, name).get("certificate", "")) for name in inspected}
    return {
        "time": now,
        "live_slot": state["live_slot"],
        "live": state["live"]["id"] if state["live"] else "",
        "candidate": {"release": candidate["release"]["id"], "percent": candidate["percent"]}
        if candidate
        else None,
        "previous": [release["id"] for release in state["previous"]],
        "load_balancers": {
            name: _balancer_status(hostvars, name, name in reached, shown.get(name, ""))
            for name in groups["load_balancers"]
        },
        "nodes": nodes,
        "warnings": _warnings(shown, now) + _node_warnings(nodes, now),
    }


def status_step(hostvars: HostVars, groups: Groups, present: Sequence[str], now: float) -> FleetStatus:
    """Return fleet_status of what playbooks/status.yml has found out: facts of the hosts that are `present`."""
    state: State = hostvars[present[0]]["release_state"]
    balancers = [hostvars[host] for host in groups["load_balancers"] if host in present]
    probed: dict[str, EndpointHealth] = {}
    for balancer in balancers:  # one of them has probed the endpoints
        probed |= balancer["release_probe"].get("endpoints", {})
    samples = [balancer["release_access_log"]["sample"] for balancer in balancers]
    return fleet_status(hostvars, groups, present, state, probed, samples, now)


def _machine(hostvars: HostVars, host: str) -> Mapping[str, Any]:
    """Return what was found on the machine of `host`, empty where nothing was."""
    found: Mapping[str, Any] = hostvars[host].get("flotilla_machine", {})
    return found


def _node_status(
    hostvars: HostVars, node: str, reached: bool, drained: bool, state: State, found: EndpointHealth
) -> NodeStatus:
    """Return the status of a node, apart from when it was last seen."""
    containers = _machine(hostvars, node).get("containers", {}) if reached else {}
    entry, slot = state["nodes"].get(node), state["live_slot"]
    return {
        "state": "drained" if drained else entry["status"] if entry else "not in the traffic",
        "reason": entry["reason"] if entry else "",
        "weight": int(setting(hostvars, node, "model_endpoint_weight")),
        "share": entry["share"] if entry else 0,
        "live": _release(containers.get(container_name(node, slot))),
        "staged": _release(containers.get(container_name(node, other_slot(slot)))),
        "reached": reached,
        "health": "ready" if found.get("ready") else found.get("error") or "not ready",
        "in_flight": found.get("in_flight"),
        "certificate_end": found.get("certificate_end"),
        "last_seen": None,
    }


def _last_seen(node: str, found: NodeStatus, samples: Sequence[Sample], now: float) -> float | None:
    """Return `now` if the node was reached or answered, else when it last answered a request that a log still has."""
    if found["reached"] or found["health"] == "ready":
        return now
    answered = [sample["endpoints"][node]["last"] for sample in samples if node in sample["endpoints"]]
    return max(answered, default=None)


def _balancer_status(hostvars: HostVars, name: str, reached: bool, certificate: str) -> BalancerStatus:
    """Return the status of a load balancer that shows clients `certificate`, in PEM form, or none."""
    holds = reached and holds_address(hostvars, name)
    return {
        "reached": reached,
        "serves": str(_machine(hostvars, name).get("served", "")) if reached else "",
        "holds": virtual_address(hostvars, {"load_balancers": [name]}) if holds else "",
        "certificate_end": _end(certificate),
    }


def certificate_warnings(hostvars: HostVars, balancers: Sequence[str], now: float) -> list[str]:
    """Return a line for each certificate that a run gave the load balancers to show and that expires soon."""
    given = {}
    for name in balancers:
        variables = hostvars[name]
        if variables.get("nginx_lb_tls") == "own":
            given[name] = variables["nginx_lb_tls_certificate"]
        elif variables.get("nginx_lb_tls") == "internal":
            issued = variables.get("internal_ca_issued", {}).get("certificates", {})
            given[name] = issued.get(f"frontend-{name}", {}).get("certificate", "")
    return _warnings(given, now)


def _warnings(certificates: Mapping[str, str], now: float) -> list[str]:
    """Return the warnings about the certificates that load balancers show, in PEM form by load balancer."""
    lines = []
    for certificate in dict.fromkeys(certificates.values()):
        end = _end(certificate)
        if end is None or end - now > WARNING_DAYS * 86400:
            continue
        names = ", ".join(name for name in certificates if certificates[name] == certificate)
        days = int((end - now) // 86400)
        when = f"ends in {days} day{'' if days == 1 else 's'}" if end > now else "has ended"
        lines.append(
            f"{names}: the certificate that clients see {when} ({_time(end)}): renew it, and run site.yml"
        )
    return lines


def _node_warnings(nodes: Mapping[str, NodeStatus], now: float) -> list[str]:
    """Return the warnings about the certificates that endpoints serve with."""
    ends = {name: node["certificate_end"] for name, node in nodes.items()}
    return [
        f"the certificate of {name} ends at {_time(end)}: run site.yml, which issues another"
        for name, end in ends.items()
        if end is not None and end < now + WARNING_DAYS * 86400
    ]


def _end(certificate: str) -> float | None:
    """Return when a certificate in PEM form expires, in seconds since the epoch; None where there is none."""
    if not certificate:
        return None
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.timestamp()


def _release(container: Container | None) -> str:
    """Return the release in a container; in brackets if the container is stopped, for a rollback to start."""
    release = container["labels"].get("flotilla.release", "") if container else ""
    return release if not container or container["running"] or not release else f"({release})"


def status_table(status: FleetStatus) -> list[str]:
    """Return the status as lines of text that a person reads."""
    head = [f"live: {status['live'] or 'nothing'} ({status['live_slot']})"]
    if candidate := status["candidate"]:
        head.append(f"canary: {candidate['release']} gets {candidate['percent']:g} % of the requests")
    head.append(f"to go back to: {', '.join(status['previous']) or 'nothing'}")
    for name, balancer in status["load_balancers"].items():
        serves = f"serves {balancer['serves']}" if balancer["serves"] else "does not serve"
        holds = f", holds {balancer['holds']}" if balancer["holds"] else ""
        end = balancer["certificate_end"]
        certificate = f", certificate until {_time(end)}" if end else ""
        head.append(f"load balancer {name}: {serves}{holds}{certificate}")
    head += [f"warning: {line}" for line in status["warnings"]]
    rows = [COLUMNS, *(_row(name, node) for name, node in status["nodes"].items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return [*head, "", *lines]


def _row(name: str, node: NodeStatus) -> tuple[str, ...]:
    """Return the cells of a node's row in the table."""
    share = f" ({node['share']} %)" if node["state"] == "up" and node["share"] < 100 else ""
    return (
        name,
        node["state"] + share,
        str(node["weight"]),
        node["live"] or "-",
        node["staged"] or "-",
        node["health"],
        "-" if node["in_flight"] is None else str(node["in_flight"]),
        _time(node["last_seen"]),
    )


def _time(seconds: float | None) -> str:
    """Return a time, in seconds since the epoch, as text in UTC."""
    return (
        "unknown" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    )

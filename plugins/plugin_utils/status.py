"""What a person wants to see of a fleet: what runs where, and what has been done to it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

COLUMNS = ("node", "state", "weight", "live", "staged", "health", "in flight", "last seen")


WARNING_DAYS = 30
"""How long before its end a certificate is warned of."""


def fleet_status(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    reached: Sequence[str],
    state: Mapping[str, Any],
    probed: Mapping[str, Mapping[str, Any]],
    samples: Sequence[Mapping[str, Any]],
    now: float,
) -> dict[str, Any]:
    """Return what runs where: live, candidate and previous releases, load_balancers, nodes by name, and warnings.

    `reached` are the hosts that could be looked at; `probed` is what a load balancer found asking the live
    endpoints; `samples` are the load balancers' answers to module access_log. A node is last seen now if it was
    reached or answered, else when it last answered a request that a log still knows, in seconds since the epoch
    (None: not known).
    """
    candidate = state["candidate"]
    nodes = {}
    for node in groups["model_nodes"]:
        containers = (
            hostvars[node].get("flotilla_machine", {}).get("containers", {}) if node in reached else {}
        )
        entry = state["nodes"].get(node, {})
        found = probed.get(node, {})
        drained = node in state["drained"] or hostvars[node].get("model_endpoint_state") == "drained"
        answered = [sample["endpoints"][node]["last"] for sample in samples if node in sample["endpoints"]]
        live = containers.get(f"flotilla-{node}-{state['live_slot']}", {})
        other = containers.get(f"flotilla-{node}-{'green' if state['live_slot'] == 'blue' else 'blue'}", {})
        nodes[node] = {
            "state": "drained" if drained else entry.get("status", "not in the traffic"),
            "reason": entry.get("reason", ""),
            "weight": int(hostvars[node].get("model_endpoint_weight", 1)),
            "share": entry.get("share", 0),
            "live": _release(live),
            "staged": _release(other),
            "reached": node in reached,
            "health": "ready" if found.get("ready") else found.get("error") or "not ready",
            "in_flight": found.get("in_flight"),
            "certificate_end": found.get("certificate_end"),
            "last_seen": now if node in reached or found.get("ready") else max(answered, default=None),
        }
    shown = {
        name: hostvars[name]["flotilla_machine"].get("certificate", "")
        for name in groups["load_balancers"]
        if name in reached and "flotilla_machine" in hostvars[name]
    }
    return {
        "time": now,
        "live_slot": state["live_slot"],
        "live": state["live"]["id"] if state["live"] else "",
        "candidate": candidate and {"release": candidate["release"]["id"], "percent": candidate["percent"]},
        "previous": [release["id"] for release in state["previous"]],
        "load_balancers": {
            name: {
                "reached": name in reached,
                "serves": hostvars[name].get("flotilla_machine", {}).get("served", "")
                if name in reached
                else "",
                "holds": _held(hostvars[name]) if name in reached else "",
                "certificate_end": _end(shown.get(name, "")),
            }
            for name in groups["load_balancers"]
        },
        "nodes": nodes,
        "warnings": _warnings(shown, now)
        + [
            f"the certificate of {name} ends at {_time(node['certificate_end'])}: run site.yml, which issues another"
            for name, node in nodes.items()
            if node["certificate_end"] is not None and node["certificate_end"] < now + WARNING_DAYS * 86400
        ],
    }


def certificate_warnings(
    hostvars: Mapping[str, Mapping[str, Any]], balancers: Sequence[str], now: float
) -> list[str]:
    """Return a line for each certificate that a run has given the load balancers to show and that ends soon."""
    given = {}
    for name in balancers:
        variables = hostvars[name]
        if variables.get("nginx_lb_tls") == "own":
            given[name] = variables["nginx_lb_tls_certificate"]
        elif variables.get("nginx_lb_tls") == "internal":
            issued = variables.get("__internal_ca", {}).get("certificates", {})
            given[name] = issued.get(f"frontend-{name}", {}).get("certificate", "")
    return _warnings(given, now)


def _warnings(certificates: Mapping[str, str], now: float) -> list[str]:
    """What is to be said of the certificates that load balancers show, in PEM form by load balancer."""
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


def _end(certificate: str) -> float | None:
    """When a certificate in PEM form ends, in seconds since the epoch; None where there is none."""
    if not certificate:
        return None
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.timestamp()


def _held(balancer: Mapping[str, Any]) -> str:
    """The virtual address, if this load balancer had it when its machine was looked at."""
    address = str(balancer.get("virtual_address_ip") or "").partition("/")[0]
    return address if address in balancer.get("flotilla_machine", {}).get("addresses", {}) else ""


def _release(container: Mapping[str, Any]) -> str:
    """The release a container holds; a stopped one, which is what a rollback starts, in brackets."""
    release = str(container.get("labels", {}).get("flotilla.release", ""))
    return release if container.get("running") or not release else f"({release})"


def status_table(status: Mapping[str, Any]) -> list[str]:
    """Return the status as lines of text that a person reads."""
    rows = [COLUMNS] + [
        (
            name,
            node["state"]
            + (f" ({node['share']} %)" if node["state"] == "up" and node["share"] < 100 else ""),
            str(node["weight"]),
            node["live"] or "-",
            node["staged"] or "-",
            node["health"],
            "-" if node["in_flight"] is None else str(node["in_flight"]),
            _time(node["last_seen"]),
        )
        for name, node in status["nodes"].items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    head = [f"live: {status['live'] or 'nothing'} ({status['live_slot']})"]
    if status["candidate"]:
        head.append(
            f"canary: {status['candidate']['release']} gets {status['candidate']['percent']:g} % of the requests"
        )
    head.append(f"to go back to: {', '.join(status['previous']) or 'nothing'}")
    for name, balancer in status["load_balancers"].items():
        serves = f"serves {balancer['serves']}" if balancer["serves"] else "does not serve"
        holds = f", holds {balancer['holds']}" if balancer["holds"] else ""
        end = balancer["certificate_end"]
        certificate = f", certificate until {_time(end)}" if end else ""
        head.append(f"load balancer {name}: {serves}{holds}{certificate}")
    head += [f"warning: {line}" for line in status["warnings"]]
    return [*head, "", *lines]


def _time(seconds: float | None) -> str:
    return (
        "unknown" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    )


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return entry


def audit_entries(files: Sequence[Mapping[str, Any]], entries: int | str) -> list[str]:
    """Return the last `entries` lines of the load balancers' audit logs, each once, the last first.

    `files` are what module slurp returned; a load balancer that was away lacks lines that the others have. A line
    that a full disk cut short is passed over.
    """
    lines = {line for file in files for line in base64.b64decode(file.get("content", "")).split(b"\n")}
    known = filter(None, map(_entry, lines))
    found = sorted(known, key=lambda entry: str(entry["time"]), reverse=True)
    return [
        f"{entry['time']}  {entry['result']:<11}  {entry['playbook']} "
        f"by {entry['user']}@{entry['controller']}: {entry['message']}"
        for entry in found[: int(entries)]
    ]


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "audit_entries": audit_entries,
            "certificate_warnings": certificate_warnings,
            "fleet_status": fleet_status,
            "status_table": status_table,
        }

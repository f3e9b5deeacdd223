"""What a person wants to see of a fleet: what runs where, and what has been done to it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

WARN_DAYS = 30
"""How long before the end of an endpoint's certificate people are told."""

COLUMNS = ("node", "state", "weight", "live", "staged", "health", "in flight", "last seen")


def fleet_status(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    reached: Sequence[str],
    state: Mapping[str, Any],
    probed: Mapping[str, Mapping[str, Any]],
    samples: Sequence[Mapping[str, Any]],
    now: float,
) -> dict[str, Any]:
    """Return what runs where: live, candidate and previous releases, load_balancers, and nodes by name.

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
        live = containers.get(f"flotilla-{node}-{state['colour']}", {})
        other = containers.get(f"flotilla-{node}-{'green' if state['colour'] == 'blue' else 'blue'}", {})
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
    return {
        "time": now,
        "colour": state["colour"],
        "live": state["live"]["id"] if state["live"] else "",
        "candidate": candidate and {"release": candidate["release"]["id"], "percent": candidate["percent"]},
        "previous": [release["id"] for release in state["previous"]],
        "load_balancers": {
            name: {
                "reached": name in reached,
                "serves": hostvars[name].get("flotilla_machine", {}).get("served", "")
                if name in reached
                else "",
            }
            for name in groups["load_balancers"]
        },
        "nodes": nodes,
    }


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
    head = [f"live: {status['live'] or 'nothing'} ({status['colour']})"]
    if status["candidate"]:
        head.append(
            f"canary: {status['candidate']['release']} gets {status['candidate']['percent']:g} % of the requests"
        )
    head.append(f"to go back to: {', '.join(status['previous']) or 'nothing'}")
    for name, balancer in status["load_balancers"].items():
        head.append(
            f"load balancer {name}: {'serves ' + balancer['serves'] if balancer['serves'] else 'does not serve'}"
        )
    for name, node in status["nodes"].items():
        end = node["certificate_end"]
        if end is not None and end < status["time"] + WARN_DAYS * 86400:
            head.append(f"the certificate of {name} ends at {_time(end)}: run site.yml, which issues another")
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
        return {"audit_entries": audit_entries, "fleet_status": fleet_status, "status_table": status_table}

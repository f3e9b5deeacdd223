"""Runs on the controller: the status of a fleet as lines of text that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Difference
from ansible_collections.flotilla.fleet.plugins.plugin_utils.status import (
    LOG_SECONDS,
    NOT_LOOKED_AT,
    FleetStatus,
    NodeStatus,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.status_images import image_lines

COLUMNS = ("node", "state", "weight", "live", "other slot", "health", "req/s", "failed", "in flight")
WIDEST = (18, 13, 6, 14, 14, 15, 6, 6, 9)
"""How many characters of each column are shown. With two spaces between, a line fits into 100 for usual names."""

NO_TRAFFIC = {"not in the traffic": "no traffic"}
"""What the table has room for."""

LINE, VALUE = 100, 120
"""How many characters of a line of the table are shown, and of what is wanted or was found. The JSON has all."""


def status_table(status: FleetStatus) -> list[str]:
    """Return the status as lines: three of the fleet, one for each node and image, what differs and what to run."""
    rows = [COLUMNS, *(_row(name, node) for name, node in status["nodes"].items())]
    cells = [[_cut(cell, most) for cell, most in zip(row, WIDEST, strict=True)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return [
        *(_cut(line, LINE) for line in (_releases(status), _balancers(status), _traffic(status))),
        *(_cut(line, LINE) for line in lines),
        *image_lines(status["images"], status["time"]),
        *map(_in_words, status["differences"]),
        status_verdict(status),
    ]


def status_verdict(status: FleetStatus) -> str:
    """Return in one sentence whether anything differs."""
    found = status["differences"]
    if not found:
        return "nothing differs from what the inventory and the state want"
    runs = dict.fromkeys(entry["mended_by"] for entry in found if entry["mended_by"])
    by_hand = sum(not entry["mended_by"] for entry in found)
    parts = [
        f"{len(found)} difference{'s' if len(found) > 1 else ''}",
        f"run {'; '.join(runs)}" if runs else "",
        f"no run mends {'it' if len(found) == 1 else f'{by_hand} of them'}" if by_hand else "",
    ]
    return ": ".join(filter(None, [parts[0], ", ".join(filter(None, parts[1:]))]))


def _in_words(difference: Difference) -> str:
    """Return a difference as a line: host, thing, what is wanted, what was found, what to run."""
    run = f": {difference['mended_by']}" if difference["mended_by"] else ""
    return (
        f"{difference['host']}: {difference['thing']}: wanted {_cut(difference['wanted'], VALUE)}, "
        f"found {_cut(difference['found'], VALUE)}{run}"
    )


def _releases(status: FleetStatus) -> str:
    """Return the line about the releases."""
    if not any(balancer["asked"] for balancer in status["load_balancers"].values()):
        return f"live: {NOT_LOOKED_AT}, as --limit names no load balancer"
    if not _looked(status):
        return f"live: {NOT_LOOKED_AT}, as no load balancer could be reached"
    parts = [f"live: {status['live'] or 'nothing'} ({status['live_slot']})"]
    if candidate := status["candidate"]:
        percent, shadow = candidate["percent"], candidate["shadow"]
        if shadow and not percent:
            parts.append(f"shadow: {candidate['release']} gets copies of {shadow:g} %")
        else:
            parts.append(f"canary: {candidate['release']} gets {percent:g} %")
    drained = sum(node["state"] == "drained" for node in status["nodes"].values())
    parts += [f"drained: {drained}"] if drained else []
    parts.append(f"before: {', '.join(status['previous']) or 'nothing'}")
    return ", ".join(parts)


def _looked(status: FleetStatus) -> bool:
    """Tell whether a load balancer was looked at, which tells what is live, the lock and the requests."""
    return any(balancer["reached"] for balancer in status["load_balancers"].values())


def _balancers(status: FleetStatus) -> str:
    """Return the line about the load balancers and the deploy lock."""
    told = []
    for name, balancer in status["load_balancers"].items():
        serves = f"serves {balancer['serves']}" if balancer["serves"] else "does not serve"
        holds = f" and holds {balancer['holds']}" if balancer["holds"] else ""
        told.append(f"{name} {serves if balancer['reached'] else NOT_LOOKED_AT}{holds}")
    lock = status["lock"] or ("free" if _looked(status) else NOT_LOOKED_AT)
    return "; ".join([", ".join(told), f"lock {lock}"])


def _traffic(status: FleetStatus) -> str:
    """Return the line about the requests of the last minute."""
    told = [
        f"{release}: {figures['requests'] / LOG_SECONDS:.1f} req/s, "
        f"{100 * figures['failure_share']:.1f} % failed, p95 {1000 * figures['p95']:.0f} ms"
        for release, figures in status["traffic"].items()
    ]
    if not _looked(status):
        return f"requests: {NOT_LOOKED_AT}"
    return "; ".join(told or ["no requests in the last minute"])


def _row(name: str, node: NodeStatus) -> Sequence[str]:
    """Return the cells of a node's row in the table."""
    share = f" ({node['share']} %)" if node["state"] == "up" and node["share"] < 100 else ""
    return (
        name,
        NO_TRAFFIC.get(node["state"], node["state"]) + share,
        str(node["weight"]),
        (node["live"] or "-") if node["reached"] else NOT_LOOKED_AT,
        (node["staged"] or "-") if node["reached"] else _seen(node["last_seen"]),
        node["health"] or "-",
        f"{node['requests_per_second']:.1f}",
        f"{100 * node['failure_share']:.1f} %",
        "-" if node["in_flight"] is None else str(node["in_flight"]),
    )


def _seen(time: float | None) -> str:
    """Return when a node was last seen."""
    return f"seen {datetime.fromtimestamp(time, UTC):%H:%M:%S}Z" if time else "-"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

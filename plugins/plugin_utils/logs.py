"""Runs on the controller: which logs are asked for, and their lines for a person to read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

TIMESTAMP = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)[0-9.]*Z ?(.*)$")


class Log(TypedDict):
    """What module log_lines found in a log."""

    name: str
    lines: list[str]


class Asked(TypedDict, total=False):
    """The extra variables of playbooks/logs.yml."""

    host: str
    node: str
    balancer: str
    since: str
    status: str
    request_id: str
    lines: int


class LogsStep(TypedDict):
    """Which logs to read, and what of them."""

    refusal: str
    """Why no log can be read, or empty."""
    host: str
    label: str
    """The label of the containers to read."""
    path: str
    """The log of requests; empty on a node, whose container logs them."""
    since: float


def logs_step(asked: Mapping[str, object], groups: Groups, now: float) -> LogsStep:
    """Return which logs are asked for, in `asked` (see Asked; a value that was not given is empty)."""
    balancers, nodes = groups.get("load_balancers", ()), groups.get("model_nodes", ())
    given = {name: str(asked[name]) for name in ("host", "node", "balancer") if asked.get(name)}
    known = {"host": [*nodes, *balancers], "node": nodes, "balancer": balancers}
    step: LogsStep = {"refusal": "", "host": "", "label": "", "path": "", "since": 0.0}
    if len(given) != 1:
        found = " ".join(f"{name}={value}" for name, value in given.items()) or "none of them"
        step["refusal"] = (
            f"Set one of node, balancer and host to a host's name, as -e node=NAME; {found} is set."
        )
        return step
    ((variable, host),) = given.items()
    if host not in known[variable]:
        one_of = ", ".join(dict.fromkeys(known[variable])) or "none"
        step["refusal"] = (
            f"{variable} is {host!r}, which is not among its hosts ({one_of}): set -e {variable}=NAME."
        )
        return step
    as_node = host in nodes and variable != "balancer"
    step["host"] = host
    step["label"] = f"flotilla.endpoint={host}" if as_node else "flotilla.role=load_balancer"
    step["path"] = "" if as_node else "/var/log/flotilla/access.log"
    try:
        step["since"] = _since(str(asked.get("since") or ""), now)
    except ValueError:
        step["refusal"] = (
            f"since is {asked.get('since')!r}: set how long back, such as 30s, 10m, 2h or 1d, or a time in UTC, "
            "such as 2026-11-27T21:00:00"
        )
    status = str(asked.get("status") or "")
    if not re.fullmatch(r"([1-5][0-9xX]{2})?", status):
        step["refusal"] = f"status is {status!r}: set a status, such as 503, or a class of them, such as 5xx"
    return step


def _since(text: str, now: float) -> float:
    """Return a time in seconds since the epoch. Raises ValueError for a text that is no time."""
    if not text:
        return 0.0
    if back := re.fullmatch(r"(\d+)([smhd])", text):
        return now - int(back[1]) * UNITS[back[2]]
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def log_report(logs: Sequence[Log]) -> list[str]:
    """Return logs as lines of text that a person reads."""
    report = []
    for log in logs:
        lines = [_readable(line) for line in log["lines"]]
        report += [f"{log['name']}: {len(lines) or 'no'} line{'' if len(lines) == 1 else 's'}", *lines]
    return report


def _readable(line: str) -> str:
    """Return a line of a log with its time in front, and a request in words."""
    stamped = TIMESTAMP.match(line)
    said = stamped[3] if stamped else line
    try:
        return _request(json.loads(said))
    except (ValueError, KeyError, TypeError):
        return f"{stamped[1]} {stamped[2]}Z  {said}" if stamped else said


def _request(entry: Mapping[str, object]) -> str:
    """Return a request in words, from a load balancer's line or from an endpoint's.

    Raises:
        KeyError, TypeError, ValueError: when the entry is not one of a request.
    """
    at = entry["at"] if "at" in entry else entry["time"]
    seconds = entry["seconds"] if "seconds" in entry else float(str(entry["milliseconds"])) / 1000
    time = datetime.fromtimestamp(float(str(at)), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    parts = [
        f"{time}  {entry['status']}  {float(str(seconds)) * 1000:7.1f} ms  {entry['method']} "
        f"{entry.get('uri') or entry.get('path')}",
        *(f"{word} {entry[key]}" for key, word in WORDS.items() if entry.get(key)),
    ]
    return "  ".join(parts)


WORDS = {
    "endpoint": "by",
    "slot": "slot",
    "release": "release",
    "model": "model",
    "rows": "rows",
    "client": "from",
    "client_key": "key",
    "upstream": "tried",
    "request_id": "id",
}
"""What is shown of a request besides, by the key in its line, with the word before the value."""

"""Runs on the controller: the history of a fleet, from its load balancers and from this controller."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping

KEYS = frozenset({"time", "user", "controller", "playbook", "result", "message"})
"""What each line of a log has."""


def history_lines(files: Iterable[Mapping[str, object]], entries: int | str) -> list[str]:
    """Return the last `entries` runs, each once, the last first.

    `files` are what module slurp returned for the logs, without content where it could not read one. A load balancer
    that was away lacks lines that the others have. This controller's log has the runs that ended before they could
    write a line on a load balancer. A line that a full disk cut short is left out.
    """
    return [_shown(entry) for entry in entries_of(files)[: int(entries)]]


def entries_of(files: Iterable[Mapping[str, object]]) -> list[dict[str, str]]:
    """Return every run that the logs have, each once, the last first. `files` are those of `history_lines`."""
    return [entry for _, entry in reversed(_runs(_contents(files)))]


def merged_log(files: Iterable[Mapping[str, object]], known: str = "") -> str:
    """Return one audit log, in its order, of all runs of `files`, those of `history_lines`, and of the log `known`."""
    return "".join(f"{line.decode()}\n" for line, _ in _runs([known.encode(), *_contents(files)]))


def _contents(files: Iterable[Mapping[str, object]]) -> list[bytes]:
    return [base64.b64decode(str(file.get("content", ""))) for file in files]


def _runs(contents: Iterable[bytes]) -> list[tuple[bytes, dict[str, str]]]:
    """Return each run of some logs once, with its line, the first first.

    A run began when it had a load balancer's lock. It had that of one a moment after the other's: the first counts.
    """
    runs: dict[tuple[tuple[str, str], ...], tuple[bytes, dict[str, str]]] = {}
    for line in sorted({line for content in contents for line in content.split(b"\n")}):
        if entry := _entry(line):
            run = tuple(sorted((name, value) for name, value in entry.items() if name != "started"))
            _, same = runs.setdefault(run, (line, entry))
            if entry.get("started", "") < same.get("started", ""):
                runs[run] = (line, entry)
    return sorted(runs.values(), key=lambda found: (found[1]["time"], found[0]))


def _shown(entry: Mapping[str, str]) -> str:
    node = f" of {entry['node']}" if entry.get("node") else ""
    return (
        f"{entry['time']}  {entry['result']:<11}  {entry['playbook']}{node} "
        f"by {entry['user']}@{entry['controller']}: {entry['message']}"
    )


def _entry(line: bytes) -> dict[str, str] | None:
    """Return a line of a log as module deploy_lock or callback verdict wrote it, None for anything else."""
    try:
        entry: object = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or not entry.keys() >= KEYS:
        return None
    return {str(key): str(value) for key, value in entry.items()}

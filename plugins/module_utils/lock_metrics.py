"""Runs on load balancers and on the controller: the deploy lock and the last run as metrics that node_exporter reads.

They are written only where role node_exporter has made the folder.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Iterable, Mapping

from ansible_collections.flotilla.fleet.plugins.module_utils.atomic_write import write_file

FOLDER_NAME = "metrics"
METRICS_FOLDER = f"/var/lib/flotilla/{FOLDER_NAME}"
LOCK_FILE, RUN_FILE = "lock.prom", "run.prom"

Metric = tuple[str, str, Mapping[str, str], "float | str"]
"""A gauge: its name, what it tells, its labels, its value."""


def metrics_text(metrics: Iterable[Metric]) -> str:
    """Return gauges as Prometheus reads them; those of one name follow each other."""
    lines: list[str] = []
    before = ""
    for name, told, labels, value in metrics:
        if name != before:
            lines += [f"# HELP {name} {told}", f"# TYPE {name} gauge"]
            before = name
        # JSON escapes quotes, backslashes and line breaks as Prometheus does.
        within = ",".join(f"{label}={json.dumps(text, ensure_ascii=False)}" for label, text in labels.items())
        lines.append(f"{name}{{{within}}} {value}" if within else f"{name} {value}")
    return "\n".join(lines) + "\n"


def lock_metrics(since: float | str, now: float | str) -> str:
    """Return the metrics of a lock that a run has held `since`, 0 where none does, when it was taken or freed `now`."""
    return metrics_text(
        [
            (
                "flotilla_fleet_lock_since_timestamp_seconds",
                "Since when a run holds the deploy lock.",
                {},
                since,
            ),
            (
                "flotilla_fleet_changing_timestamp_seconds",
                "When a run began or ended to change the fleet.",
                {},
                now,
            ),
        ]
    )


def run_metrics(now: str, playbook: str, operator: str, outcome: str, *, failed: bool) -> str:
    """Return the metrics of the run that has ended `now`."""
    labels = {"playbook": playbook, "operator": operator, "outcome": outcome}
    return metrics_text(
        [
            ("flotilla_fleet_last_run_timestamp_seconds", "When the last run ended.", {}, now),
            ("flotilla_fleet_last_run_failed", "Whether it failed.", {}, int(failed)),
            ("flotilla_fleet_last_run_info", "Which run it was.", labels, 1),
        ]
    )


def write_lock_metrics(directory: pathlib.Path, since: float, now: float) -> None:
    """Write the metrics of the deploy lock in `directory`, where metrics are collected.

    A run goes on where that fails: the lock is what it needs.
    """
    if (directory / FOLDER_NAME).is_dir():
        with contextlib.suppress(OSError):
            write_file(directory / FOLDER_NAME / LOCK_FILE, lock_metrics(since, now))

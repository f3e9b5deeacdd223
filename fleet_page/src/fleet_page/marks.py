"""What happened, as marks on the charts: runs from the audit log, canary steps and alerts from Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleet_page.charts import Mark
from fleet_page.facts import Run
from fleet_page.numbers import parsed
from fleet_page.prometheus import Series, Window

MOST = 40
"""How many marks are drawn, the latest ones."""

KINDS = {
    "release": "release or rollback",
    "canary": "canary or shadow step",
    "drain": "drain, undrain or removal",
    "alert": "alert begins",
    "failed": "failed or refused run",
}

_OF_PLAYBOOKS = {"drain.yml": "drain", "undrain.yml": "drain", "remove_node.yml": "drain"}
_OF_RESULTS = {
    "released": "release",
    "rolled back": "release",
    "returned": "release",
    "canary": "canary",
    "shadow": "canary",
    "failed": "failed",
    "refused": "failed",
}


def all_marks(
    runs: Sequence[Run], percents: Sequence[Series], alerts: Sequence[Series], window: Window
) -> tuple[list[Mark], int]:
    """Return the marks of a window in their order, numbered, and how many earlier ones are left out."""
    found = [*_of_runs(runs), *_of_steps(percents), *_of_alerts(alerts, window)]
    within = sorted(
        (mark for mark in found if window.start <= mark.at <= window.end), key=lambda mark: mark.at
    )
    kept = within[-MOST:]
    return [replace(mark, number=at) for at, mark in enumerate(kept, start=1)], len(within) - len(kept)


def _of_runs(runs: Sequence[Run]) -> list[Mark]:
    made = []
    for run in runs:
        kind = _OF_RESULTS.get(run["result"], "")
        if kind in ("", "release") and run["playbook"] in _OF_PLAYBOOKS:
            kind = _OF_PLAYBOOKS[run["playbook"]]
        at = parsed(run["time"])
        if kind and at is not None:
            node = f" of {run['node']}" if run["node"] else ""
            live = f", release {run['live']}" if run["live"] and kind == "release" else ""
            made.append(Mark(at, kind, f"{run['playbook']}{node}: {run['result']}{live}, by {run['user']}"))
    return made


def _of_steps(percents: Sequence[Series]) -> list[Mark]:
    """Return a mark where the candidate's share of the requests changed."""
    made = []
    for series in percents:
        for (_, before), (at, after) in zip(series.points, series.points[1:], strict=False):
            if after != before:
                words = f"the candidate gets {after:g} % of the requests, {before:g} % before"
                made.append(Mark(at, "canary", words))
    return made


def _of_alerts(alerts: Sequence[Series], window: Window) -> list[Mark]:
    """Return a mark where an alert began to fire; one that did before the window has none."""
    made = []
    for series in alerts:
        last = window.start
        for at, _ in series.points:
            if at - last > window.step:
                made.append(Mark(at, "alert", f"alert {series.labels.get('alertname', '')} fires"))
            last = at
    return made

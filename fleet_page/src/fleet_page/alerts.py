"""Alerts that fire, and what to do about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet_page.numbers import parsed
from fleet_page.prometheus import Alert

WATCHDOG = "Watchdog"
"""The alert that always fires, so that its absence tells that alerts no longer work."""

SEVERITIES = {"critical": ("✖", 0), "warning": ("▲", 1)}
HIDDEN = frozenset({"alertname", "severity", "job"})


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    severity: str
    sign: str
    about: str
    """What it is about: its labels."""
    summary: str
    since: float | None
    runbook: str
    """The place in the runbook, or an address; empty where the rule names none."""


def rows(alerts: Sequence[Alert], state: str) -> list[Row]:
    """Return the alerts in a state (firing or pending), the worst first, without the watchdog."""
    found = [alert for alert in alerts if alert["state"] == state]
    made = [_row(alert) for alert in found if alert["labels"].get("alertname") != WATCHDOG]
    return sorted(made, key=lambda row: (SEVERITIES.get(row.severity, ("", 2))[1], row.since or 0, row.about))


def watchdog_fires(alerts: Sequence[Alert]) -> bool:
    return any(
        alert["state"] == "firing" and alert["labels"].get("alertname") == WATCHDOG for alert in alerts
    )


def _row(alert: Alert) -> Row:
    labels, notes = alert["labels"], alert["annotations"]
    severity = labels.get("severity", "")
    return Row(
        name=labels.get("alertname", ""),
        severity=severity,
        sign=SEVERITIES.get(severity, ("○", 2))[0],
        about=", ".join(f"{name} {value}" for name, value in sorted(labels.items()) if name not in HIDDEN),
        summary=notes.get("summary", ""),
        since=parsed(alert["activeAt"].replace("Z", "+00:00")[:19] + "+00:00"),
        runbook=notes.get("runbook", notes.get("runbook_url", "")),
    )

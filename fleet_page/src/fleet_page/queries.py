"""Every query of Prometheus, and the ranges of time that they are asked for.

The series with a colon in their names are recorded by roles/monitoring/files/recording.yml.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fleet_page.prometheus import Window

SHARES = (0.5, 0.95, 0.99)
"""The quantiles of latency that are shown."""


class Range(NamedTuple):
    """A range of time that a person chooses."""

    name: str
    words: str
    seconds: int
    step: int
    """How far apart the points of a curve are: at most 300 fit into each range."""

    @property
    def minutes(self) -> int:
        """Which recorded series are read: those of each minute, or their averages over five."""
        return 1 if self.step < 600 else 5


RANGES = (
    Range("1h", "1 hour", 3600, 60),
    Range("6h", "6 hours", 6 * 3600, 120),
    Range("1d", "1 day", 86400, 480),
    Range("7d", "7 days", 7 * 86400, 3600),
    Range("30d", "30 days", 30 * 86400, 4 * 3600),
)


def chosen(name: str) -> Range:
    """Return the range of this name, the first where there is none."""
    return next((entry for entry in RANGES if entry.name == name), RANGES[0])


def window(over: Range, now: float) -> Window:
    """Return the points of a range that ends at `now`: whole steps, so that a reload shows the same points."""
    end = now // over.step * over.step
    return Window(end - over.seconds, end, over.step)


def text(value: str) -> str:
    """Return a label's value as a string of PromQL."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def matchers(**labels: str | Sequence[str]) -> str:
    """Return the matchers that labels must fulfil; a list of values is an or, and an empty one leaves the label out."""
    parts = []
    for name, value in labels.items():
        if isinstance(value, str):
            parts.append(f"{name}={text(value)}")
        elif value:
            parts.append(f"{name}=~{text('|'.join(map(_literal, value)))}")
    return "{" + ",".join(parts) + "}"


def _literal(value: str) -> str:
    """Return a regular expression of RE2 that matches `value` alone."""
    plain = "_-/ "
    return "".join(
        char if char.isalnum() or char in plain or ord(char) > 127 else f"\\{char}" for char in value
    )


DRIFT = "column_drift"
"""The one recorded series that is no rate."""


def _level(name: str, over: Range) -> str:
    first = "max1m" if name == DRIFT else "rate1m"
    return f"flotilla:{name}:{first if over.minutes == 1 else 'avg5m'}"


def recorded(name: str, over: Range, labels: str = "") -> str:
    """Return the average of a recorded series over each step of a range."""
    return f"avg_over_time({_level(name, over)}{labels}[{over.step}s])"


def counted(name: str, over: Range, labels: str = "") -> str:
    """Return how many there were in a whole range, of what a recorded series has the rate of."""
    return f"{60 * over.minutes} * sum_over_time({_level(name, over)}{labels}[{over.seconds}s])"


def total(by: Sequence[str], series: str) -> str:
    return f"sum by ({', '.join(by)}) ({series})"


def failed(by: Sequence[str], name: str, over: Range, **labels: str | Sequence[str]) -> str:
    """Return the share of the requests that were answered with 5xx, 0 where none was."""
    everything = total(by, recorded(name, over, matchers(**labels)))
    bad = total(by, recorded(name, over, matchers(**labels, status="5xx")))
    return f"({bad} or 0 * {everything}) / ({everything} > 0)"


def quantile(share: float, by: Sequence[str], series: str) -> str:
    return f"histogram_quantile({share}, {total(['le', *by], series)})"


LAST = "5m"
"""What "now" is an average of."""

NOW = {
    "requests": f"sum by (endpoint) (avg_over_time(flotilla:endpoint_requests:rate1m[{LAST}]))",
    "failed": f'sum by (endpoint) (avg_over_time(flotilla:endpoint_requests:rate1m{{status="5xx"}}[{LAST}]))',
    "p95": quantile(0.95, ["endpoint"], f"avg_over_time(flotilla:endpoint_request_seconds:rate1m[{LAST}])"),
    "drift": "flotilla:endpoint_drift:max",
    "memory": "sum by (endpoint, slot) (flotilla_process_memory_bytes)",
    "limit": "max by (endpoint, slot) (flotilla_memory_limit_bytes)",
    "up": 'max by (endpoint, slot) (up{job="endpoints"})',
    "all_requests": f"sum(avg_over_time(flotilla:requests:rate1m[{LAST}]))",
    "all_failed": f'sum(avg_over_time(flotilla:requests:rate1m{{status="5xx"}}[{LAST}]))',
    "all_p95": quantile(0.95, [], f"avg_over_time(flotilla:request_seconds:rate1m[{LAST}])"),
    "in_flight": "sum by (load_balancer) (flotilla_lb_requests_in_flight)",
    "connections": "sum by (load_balancer) (flotilla_lb_connections_active)",
    "holds": "max by (load_balancer) (flotilla_lb_holds_address)",
    "balancer_up": 'max by (load_balancer) (up{job="load_balancers"})',
    "version": "max by (load_balancer, version) (flotilla_lb_configuration_info)",
    "lock": "max(flotilla_fleet_lock_since_timestamp_seconds)",
    "differences": "max(flotilla_fleet_differences)",
    "certificate": "min by (load_balancer) (flotilla_lb_certificate_end_timestamp_seconds)",
}

MARKS = {
    "percent": "max(flotilla_fleet_candidate_percent)",
    "alerts": 'max by (alertname) (ALERTS{alertstate="firing",alertname!="Watchdog"})',
}

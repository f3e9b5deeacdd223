"""Lines of Prometheus' text format. Runs in a worker.

https://prometheus.io/docs/instrumenting/exposition_formats/, text format, version 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterator

from model_endpoint.runtime.metrics import Histogram


def head(name: str, kind: str, text: str) -> Iterator[str]:
    """The two lines before a metric's samples."""
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def histogram(metric: str, labels: str, found: Histogram) -> Iterator[str]:
    """The samples of one histogram."""
    running = 0.0
    for bound, count in zip([*found.bounds, "+Inf"], found.counts, strict=True):
        running += count
        yield f'{metric}_bucket{{{labels},le="{bound}"}} {running:.0f}'
    yield f"{metric}_sum{{{labels}}} {found.sum:.9g}"
    yield f"{metric}_count{{{labels}}} {running:.0f}"


def escape(label: str) -> str:
    """A label's value as the format has it."""
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

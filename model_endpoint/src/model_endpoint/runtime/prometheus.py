"""The metrics as text for Prometheus. Runs in a worker.

The format is https://prometheus.io/docs/instrumenting/exposition_formats/, text format, version 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model_endpoint.models.model import Models
from model_endpoint.runtime.metrics import NO_MODEL, Histogram, Metrics, Totals

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ERRORS = {
    "400": "bad_input",
    "404": "unknown_route_or_model",
    "405": "wrong_method",
    "413": "too_large",
    "415": "wrong_content_type",
    "500": "failed",
}


class PrometheusText:
    """Renders the metrics of an endpoint that serves `models` in `release`."""

    def __init__(self, metrics: Metrics, models: Models, release: str) -> None:
        self._metrics = metrics
        self._load_seconds = {name: model.load_seconds for name, model in models.items()}
        versions = {name: model.card.version for name, model in models.items()} | {NO_MODEL: ""}
        self._labels = {
            name: f'model="{name}",version="{version}",release="{_escape(release)}"'
            for name, version in versions.items()
        }

    def render(self) -> str:
        """All metrics, a line each, with a line break at the end."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        totals = self._metrics.totals()
        yield from self._requests(totals)
        seconds = {name: total.seconds for name, total in totals.items()}
        yield from self._histogram("flotilla_request_seconds", "Time to answer.", seconds)
        rows = {name: total.rows for name, total in totals.items()}
        yield from self._histogram("flotilla_request_rows", "Rows per request.", rows)
        calls = {name: total.calls for name, total in totals.items()}
        text = "Rows per shared call of a model that is not compiled."
        yield from self._histogram("flotilla_call_rows", text, calls)
        yield from _head("flotilla_rows_total", "counter", "Rows predicted.")
        for name, total in totals.items():
            yield f"flotilla_rows_total{{{self._labels[name]}}} {total.rows.sum:.0f}"
        yield from _head("flotilla_unknown_values_total", "counter", "Values that training did not have.")
        for name, total in totals.items():
            yield f"flotilla_unknown_values_total{{{self._labels[name]}}} {total.unknown:.0f}"
        yield from _head("flotilla_requests_in_flight", "gauge", "Requests being answered.")
        for name, total in totals.items():
            yield f"flotilla_requests_in_flight{{{self._labels[name]}}} {total.in_flight:.0f}"
        yield from _head("flotilla_model_load_seconds", "gauge", "Time it took to load the model.")
        for name, load_seconds in self._load_seconds.items():
            yield f"flotilla_model_load_seconds{{{self._labels[name]}}} {load_seconds:.6f}"
        yield from _head("flotilla_process_memory_bytes", "gauge", "Proportional memory of each worker.")
        for worker, process in self._metrics.processes().items():
            if (memory := _proportional_memory(process)) is not None:
                yield f'flotilla_process_memory_bytes{{worker="{worker}"}} {memory}'

    def _requests(self, totals: dict[str, Totals]) -> Iterator[str]:
        yield from _head("flotilla_requests_total", "counter", "Requests answered, by HTTP status.")
        for name, total in totals.items():
            for status, count in total.statuses.items():
                if count:
                    yield f'flotilla_requests_total{{{self._labels[name]},status="{status}"}} {count:.0f}'
        yield from _head("flotilla_errors_total", "counter", "Requests refused or failed, by kind.")
        for name, total in totals.items():
            for status, kind in ERRORS.items():
                count = total.statuses[status]
                yield f'flotilla_errors_total{{{self._labels[name]},kind="{kind}"}} {count:.0f}'

    def _histogram(self, metric: str, text: str, histograms: dict[str, Histogram]) -> Iterator[str]:
        yield from _head(metric, "histogram", text)
        for name, histogram in histograms.items():
            labels = self._labels[name]
            running = 0.0
            for bound, count in zip([*histogram.bounds, "+Inf"], histogram.counts, strict=True):
                running += count
                yield f'{metric}_bucket{{{labels},le="{bound}"}} {running:.0f}'
            yield f"{metric}_sum{{{labels}}} {histogram.sum:.9g}"
            yield f"{metric}_count{{{labels}}} {running:.0f}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _proportional_memory(process: int) -> int | None:
    """Bytes of a process, shared pages divided by the number of processes that share them; None when it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)

"""The metrics as text for Prometheus. Runs in a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model_endpoint.drift.counts import ValueCounts
from model_endpoint.drift.report import report
from model_endpoint.models.model import Models
from model_endpoint.runtime import prometheus_values
from model_endpoint.runtime.cgroup import memory_control
from model_endpoint.runtime.exposition import escape, head, histogram
from model_endpoint.runtime.metrics import NO_MODEL, Histogram, Metrics, Totals
from model_endpoint.runtime.settings import Settings

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

    def __init__(
        self, metrics: Metrics, value_counts: ValueCounts, models: Models, settings: Settings
    ) -> None:
        self._metrics = metrics
        self._value_counts = value_counts
        self._models = models
        self._settings = settings
        self._load_seconds = {name: model.load_seconds for name, model in models.items()}
        versions = {name: model.card.version for name, model in models.items()} | {NO_MODEL: ""}
        self._labels = {
            name: f'model="{name}",version="{version}",release="{escape(settings.release)}"'
            for name, version in versions.items()
        }

    def render(self) -> str:
        """All metrics, a line each, with a line break at the end."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from self._infos()
        totals = self._metrics.totals()
        yield from self._requests(totals)
        seconds = {name: total.seconds for name, total in totals.items()}
        yield from self._histogram("flotilla_request_seconds", "Time to answer.", seconds)
        rows = {name: total.rows for name, total in totals.items()}
        yield from self._histogram("flotilla_request_rows", "Rows per request.", rows)
        calls = {name: total.calls for name, total in totals.items()}
        text = "Rows per shared call of a model that is not compiled."
        yield from self._histogram("flotilla_call_rows", text, calls)
        yield from head("flotilla_rows_total", "counter", "Rows predicted.")
        for name, total in totals.items():
            yield f"flotilla_rows_total{{{self._labels[name]}}} {total.rows.sum:.0f}"
        yield from head("flotilla_unknown_values_total", "counter", "Values that training did not have.")
        for name, total in totals.items():
            yield f"flotilla_unknown_values_total{{{self._labels[name]}}} {total.unknown:.0f}"
        reports = {name: report(counts) for name, counts in self._value_counts.models.items()}
        yield from prometheus_values.lines(self._labels, reports)
        yield from head("flotilla_requests_in_flight", "gauge", "Requests being answered.")
        for name, total in totals.items():
            yield f"flotilla_requests_in_flight{{{self._labels[name]}}} {total.in_flight:.0f}"
        yield from head("flotilla_model_load_seconds", "gauge", "Time it took to load the model.")
        for name, load_seconds in self._load_seconds.items():
            yield f"flotilla_model_load_seconds{{{self._labels[name]}}} {load_seconds:.6f}"
        yield from head("flotilla_start_time_seconds", "gauge", "When the endpoint started, since the epoch.")
        yield f"flotilla_start_time_seconds {self._metrics.start_time:.3f}"
        yield from _memory_control()
        yield from head("flotilla_process_memory_bytes", "gauge", "Proportional memory of each worker.")
        for worker, process in self._metrics.processes().items():
            if (memory := _proportional_memory(process)) is not None:
                yield f'flotilla_process_memory_bytes{{worker="{worker}"}} {memory}'

    def _infos(self) -> Iterator[str]:
        yield from head("flotilla_endpoint_info", "gauge", "1; the labels tell what this endpoint is.")
        endpoint, release = escape(self._settings.endpoint), escape(self._settings.release)
        yield f'flotilla_endpoint_info{{endpoint="{endpoint}",release="{release}"}} 1'
        yield from head("flotilla_model_info", "gauge", "1; the labels tell what serves a model.")
        for name, model in self._models.items():
            kind, data = model.served_by["kind"], model.card.training_data_sha256
            labels = f'{self._labels[name]},predictor="{kind}",training_data_sha256="{data}"'
            yield f"flotilla_model_info{{{labels}}} 1"

    def _requests(self, totals: dict[str, Totals]) -> Iterator[str]:
        yield from head("flotilla_requests_total", "counter", "Requests answered, by HTTP status.")
        for name, total in totals.items():
            for status, count in total.statuses.items():
                if count:
                    yield f'flotilla_requests_total{{{self._labels[name]},status="{status}"}} {count:.0f}'
        yield from head("flotilla_errors_total", "counter", "Requests refused or failed, by kind.")
        for name, total in totals.items():
            for status, kind in ERRORS.items():
                count = total.statuses[status]
                yield f'flotilla_errors_total{{{self._labels[name]},kind="{kind}"}} {count:.0f}'

    def _histogram(self, metric: str, text: str, histograms: dict[str, Histogram]) -> Iterator[str]:
        yield from head(metric, "histogram", text)
        for name, found in histograms.items():
            yield from histogram(metric, self._labels[name], found)


def _memory_control() -> Iterator[str]:
    control = memory_control()
    yield from head("flotilla_memory_limit_bytes", "gauge", "The container's memory limit, if it has one.")
    if control.limit is not None:
        yield f"flotilla_memory_limit_bytes {control.limit}"
    text = "Processes of the container that were killed for want of memory."
    yield from head("flotilla_memory_oom_kills_total", "counter", text)
    if control.kills is not None:
        yield f"flotilla_memory_oom_kills_total {control.kills}"


def _proportional_memory(process: int) -> int | None:
    """Bytes of a process, shared pages divided by the number of processes that share them; None when it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)

"""What models were given and answered, and their drift, as text for Prometheus. Runs in a worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from model_endpoint.drift.bins import NumberBins
from model_endpoint.drift.report import Reading, Report
from model_endpoint.runtime.exposition import escape, head, histogram
from model_endpoint.runtime.metrics import Histogram


def lines(labels: Mapping[str, str], reports: Mapping[str, Report]) -> Iterator[str]:
    """The lines of all models with a report, each with its labels."""
    yield from head("flotilla_column_values_total", "counter", "Values of a column, by bin.")
    for name, report in reports.items():
        for reading in report.columns:
            column = f'{labels[name]},column="{escape(reading.spread.name)}"'
            for text, count in zip(reading.spread.bins.labels, reading.total, strict=True):
                yield f'flotilla_column_values_total{{{column},bin="{escape(text)}"}} {count:.0f}'
    yield from head("flotilla_predictions_total", "counter", "Rows by the class that was predicted.")
    for name, report in reports.items():
        for reading in report.outputs:
            if not isinstance(reading.spread.bins, NumberBins):
                yield from _classes(labels[name], reading)
    yield from head(
        "flotilla_predicted_value", "histogram", "Numbers that were predicted, by deciles of training."
    )
    for name, report in reports.items():
        for reading, total in zip(report.outputs, report.sums, strict=True):
            if isinstance(reading.spread.bins, NumberBins):
                below, *counts, _ = reading.total
                found = Histogram(tuple(reading.spread.bins.bounds), [below + counts[0], *counts[1:]], total)
                output = f'{labels[name]},output="{reading.spread.name}"'
                yield from histogram("flotilla_predicted_value", output, found)
    yield from head("flotilla_drift_window_rows", "gauge", "Rows of the window in which drift is measured.")
    for name, report in reports.items():
        rows = report.window.rows if report.window else 0
        yield f"flotilla_drift_window_rows{{{labels[name]}}} {rows}"
    yield from _scores("column", labels, {name: report.columns for name, report in reports.items()})
    yield from _scores("output", labels, {name: report.outputs for name, report in reports.items()})


def _classes(labels: str, reading: Reading) -> Iterator[str]:
    *counts, _, _ = zip(reading.spread.bins.labels, reading.total, strict=True)  # none is unknown or missing
    for text, count in counts:
        output = f'output="{reading.spread.name}",class="{escape(text)}"'
        yield f"flotilla_predictions_total{{{labels},{output}}} {count:.0f}"


def _scores(kind: str, labels: Mapping[str, str], readings: Mapping[str, list[Reading]]) -> Iterator[str]:
    """Scores and bounds of the columns or outputs that had enough rows."""
    scored = [
        (f'{labels[name]},{kind}="{escape(reading.spread.name)}"', score)
        for name, found in readings.items()
        for reading in found
        if (score := reading.score)
    ]
    yield from head(f"flotilla_{kind}_drift_score", "gauge", f"How far the last rows of this {kind} are off.")
    for label, score in scored:
        yield f"flotilla_{kind}_drift_score{{{label}}} {score.value:.6g}"
    yield from head(f"flotilla_{kind}_drift_bound", "gauge", "How far off chance may take a score.")
    for label, score in scored:
        yield f"flotilla_{kind}_drift_bound{{{label}}} {score.bound:.6g}"

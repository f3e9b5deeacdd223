"""What an endpoint knows of a model's drift, for operators. Runs in a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model_endpoint.drift.counts import ModelCounts, Window
from model_endpoint.drift.distribution import Spread
from model_endpoint.drift.score import Score, moved, score

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a column or an output has spread in training, since the endpoint's start, and in the last rows.

    `reference` are the counts that the last rows are compared with, and `source` says what they are.
    """

    spread: Spread
    total: Sequence[float]
    window: Sequence[float]
    reference: Sequence[float]
    source: str

    @property
    def score(self) -> Score | None:
        return score(self.window, self.reference)

    def values(self) -> Json:
        """The reading as plain values."""
        found: Json = {
            "training": self.spread.fields(),
            "bins": self.spread.bins.labels,
            "total": self.total,
            "window": self.window,
        }
        if not (scored := self.score):
            return found
        words = moved(self.spread.bins, self.window, self.reference, self.source)
        return found | {"score": scored.value, "bound": scored.bound, "drift": scored.drift, "moved": words}


@dataclass(frozen=True, slots=True)
class Report:
    """The readings of a model; `window` is None before its first row."""

    window: Window | None
    columns: list[Reading]
    outputs: list[Reading]
    sums: list[float]

    def values(self) -> Json:
        """The report as plain values."""
        window = self.window and {
            "rows": self.window.rows,
            "begun": self.window.begun,
            "last": self.window.last,
        }
        return {
            "window": window,
            "columns": [reading.values() for reading in self.columns],
            "outputs": [reading.values() for reading in self.outputs],
        }


def report(counts: ModelCounts) -> Report:
    """Read the counts of a model.

    A column's last rows are compared with the training data. An output's are compared with the answers before them: a
    model that has memorised its training rows answers them otherwise than new rows.
    """
    totals, window = counts.totals(), counts.window()
    recent = window.counts if window else [0.0] * len(totals)
    known = counts.distribution
    columns, outputs = [], []
    for at, spread in enumerate([*known.columns, *known.outputs]):
        total, last = totals[counts.slices[at]], recent[counts.slices[at]]
        if at < len(known.columns):
            columns.append(Reading(spread, total, last, spread.counts, "training"))
            continue
        before = [all_of_them - new for all_of_them, new in zip(total, last, strict=True)]
        outputs.append(Reading(spread, total, last, before, "earlier answers"))
    return Report(window, columns, outputs, counts.sums())

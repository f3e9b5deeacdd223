"""A model's distribution made of numbers that are drawn, and rows of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from model_endpoint.drift.bins import NumberBins
from model_endpoint.drift.counts import PART_ROWS, WINDOW_ROWS, ModelCounts
from model_endpoint.drift.distribution import Distribution, Spread
from model_endpoint.models.card import PREDICT, Card, Output
from model_endpoint.models.contract import Feature
from model_endpoint.packing.binning import spread_of_numbers

Numbers = NDArray[np.float64]


def model_counts(training: Numbers, outputs: list[Spread] | None = None, max_workers: int = 1) -> ModelCounts:
    """The counts of a model of numbers, whose outputs are one of 0 and 1 unless they are given."""
    names = [f"x{at}" for at in range(training.shape[1])]
    columns = [spread_of_numbers(name, training[:, at], 0) for at, name in enumerate(names)]
    features = [Feature(name, "number") for name in names]
    card = Card("drawn", "1", "", features, [Output(PREDICT, "INT64", [-1])], None, "", {}, {}, "")
    return ModelCounts(Distribution([one for one in columns if one], outputs or []), card, max_workers)


def drifted(generator: np.random.Generator, rows: int, columns: int, shift: float = 0.0) -> Numbers:
    """Rows of a normal distribution, of which the first column is shifted by as many standard deviations."""
    drawn = generator.normal(size=(rows, columns))
    drawn[:, 0] += shift
    return drawn


def month_of_windows(
    generator: np.random.Generator, training: int, rate: float
) -> tuple[Iterator[list[float]], list[int]]:
    """The windows of a column in 30 days of `rate` rows a second without drift, a window a part, and its training.

    The shares that further values have between a sample's deciles are as those of uniform numbers, whatever the
    distribution is.
    """
    sample = generator.random(training)
    spread = spread_of_numbers("x0", sample, 0)
    assert spread is not None
    assert isinstance(spread.bins, NumberBins)
    shares = np.diff([0.0, np.nextafter(spread.bins.lowest, 0), *spread.bins.bounds, 1.0])
    parts = generator.multinomial(PART_ROWS, shares, size=int(30 * 24 * 3600 * rate) // PART_ROWS)
    sums = np.cumsum(parts, axis=0)
    size = WINDOW_ROWS // PART_ROWS
    return ([*one.tolist(), 0] for one in sums[size:] - sums[:-size]), spread.counts

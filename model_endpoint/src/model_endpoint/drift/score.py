"""How far counts are from those of the training data, and how far chance may take them. Runs in a worker.

Both come from counts alone, so those of several endpoints can be added up first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import log
from statistics import NormalDist

from model_endpoint.drift.bins import Bins, NumberBins, text_of

CHANCE = 1e-9
"""How often chance may take one score over its bound. A model of 100 columns that gets 1,000 rows a second has about
1e8 independent scores in a month."""
SMALLEST = 0.02
"""The least bound: what is nearer is no drift, however many rows show it. It is a shift by 0.14 standard deviations."""
LEAST_ROWS = 100
"""With fewer rows there is no score."""


@dataclass(frozen=True, slots=True)
class Score:
    """The distance of two samples, and the bound that says which distance is more than chance.

    `value` is the likelihood-ratio statistic of the two samples (the G-test's) divided by their common size. For a
    small distance it is the population stability index; unlike that it is finite where a bin is empty.
    """

    value: float
    bound: float

    @property
    def drift(self) -> bool:
        return self.value > self.bound


def score(live: Sequence[float], reference: Sequence[float]) -> Score | None:
    """The distance of `live` from `reference`, which have a count for each bin; None where either has few rows."""
    rows, others = sum(live), sum(reference)
    if rows < LEAST_ROWS or others < LEAST_ROWS:
        return None
    size = 1 / (1 / rows + 1 / others)
    parts = [_part(one, other, rows, others) for one, other in zip(live, reference, strict=True)]
    used = sum(1 for one, other in zip(live, reference, strict=True) if one or other)
    bound = max(SMALLEST, critical(used - 1) / size) if used > 1 else SMALLEST
    return Score(sum(parts) / size, bound)


@cache
def critical(freedom: int) -> float:
    """The chi-square that chance exceeds once in 1/CHANCE times, by Wilson's and Hilferty's approximation."""
    part = 2 / (9 * freedom)
    deviate = -NormalDist().inv_cdf(CHANCE)
    return float(freedom * (1 - part + deviate * part**0.5) ** 3)


def _part(one: float, other: float, rows: float, others: float) -> float:
    """What a bin adds to the likelihood-ratio statistic; bins add up."""
    share = (one + other) / (rows + others)
    part = one * log(one / (rows * share)) if one else 0.0
    return 2 * (part + (other * log(other / (others * share)) if other else 0.0))


def moved(bins: Bins, live: Sequence[float], reference: Sequence[float], source: str) -> str:
    """The part of the values whose share grew most beyond chance, in words; `source` names the reference."""
    rows, others = sum(live), sum(reference)
    found: list[tuple[float, str]] = []
    for words, places in _parts_of(bins):
        one, other = sum(live[at] for at in places), sum(reference[at] for at in places)
        if one / rows >= other / others:
            distance = _part(one, other, rows, others) + _part(rows - one, others - other, rows, others)
            found.append((distance, f"{percent(one / rows)} {words}, {percent(other / others)} in {source}"))
    return max(found)[1]


def _parts_of(bins: Bins) -> list[tuple[str, range]]:
    """Parts of the values that may have grown, each in words, with its bins."""
    missing = len(bins.labels) - 1
    parts = [("missing", range(missing, missing + 1))]
    if not isinstance(bins, NumberBins):
        words = [*(repr(text_of(value)) for value in bins.values), "other categories", "unknown categories"]
        return parts + [(text, range(at, at + 1)) for at, text in enumerate(words)]
    lowest, highest = text_of(bins.lowest), text_of(bins.bounds[-1])
    parts.append((f"below {lowest}, the lowest of training", range(1)))
    parts.append((f"above {highest}, the highest of training", range(missing - 1, missing)))
    parts.append((f"from {lowest} to {highest}", range(1, missing - 1)))
    for at, bound in enumerate(bins.bounds[:-1], start=2):
        parts.append((f"at most {text_of(bound)}", range(at)))
        parts.append((f"above {text_of(bound)}", range(at, missing)))
    return parts


def percent(share: float) -> str:
    """A share as a person reads it: never 0 % for something, never 100 % for less than all."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    if share < 0.1 or 0.99 < share < 1:
        return f"{share:.1%}".replace("%", " %").replace(".0 ", " ")
    return f"{share:.0%}".replace("%", " %")

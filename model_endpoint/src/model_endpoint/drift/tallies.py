"""Count many values into bins at once. Runs where models are packed and in a worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_endpoint.drift.bins import Bins, CategoryBins, NumberBins, Value

Tally = Callable[[Any], NDArray[np.intp]]
"""Returns how many of the values, an array or a list, are in each bin; NaN, NaT and None are missing."""


def tally_of(bins: Bins, known: Collection[Value] | None = None) -> Tally:
    """What counts values into these bins.

    `known` are all categories of training where any other is unknown; without them any other is of the bin for others.
    """
    return _of_numbers(bins) if isinstance(bins, NumberBins) else _of_categories(bins, known)


def tally_below(bounds: Sequence[float]) -> Tally:
    """What counts numbers into bins: below each of the rising bounds, from the last of them on, and missing."""
    return _up_to(np.nextafter(np.array(bounds, np.float64), -np.inf))


def _of_numbers(bins: NumberBins) -> Tally:
    return _up_to(np.array([np.nextafter(bins.lowest, -np.inf), *bins.bounds]))


def _up_to(bounds: NDArray[np.float64]) -> Tally:
    # The search puts NaN after infinity: where missing values are counted.
    edges = np.append(bounds, np.inf)
    size = len(edges) + 1

    def tally(values: ArrayLike) -> NDArray[np.intp]:
        return np.bincount(edges.searchsorted(np.asarray(values, np.float64)), minlength=size)

    return tally


def _of_categories(bins: CategoryBins, known: Collection[Value] | None) -> Tally:
    other = len(bins.values)
    unknown, missing = other + 1, other + 2
    places: dict[Any, int] = dict.fromkeys(known or (), other)
    places |= {value: at for at, value in enumerate(bins.values)}
    places[None] = missing
    strange = other if known is None else unknown

    def tally(values: Iterable[Any]) -> NDArray[np.intp]:
        counts = np.zeros(missing + 1, np.intp)
        for value, count in Counter(listed(values)).items():
            counts[places.get(value, strange) if value == value else missing] += count
        return counts

    return tally


def listed(values: Any) -> list[Any]:
    """The values of an array in a list, of dates only which are missing; a list as it is."""
    if not isinstance(values, np.ndarray):
        return list(values)
    if values.dtype.kind == "M":
        return [None if missing else "" for missing in np.isnat(values).tolist()]
    found: list[Any] = values.tolist()
    return found

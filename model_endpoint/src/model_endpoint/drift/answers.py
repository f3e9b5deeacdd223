"""Count one answer of each request into bins that two releases can compare. Runs in a worker.

A load balancer chooses at random, request by request, which release answers. So requests are what may be counted as
independent, and not rows: one request may have thousands of equal ones.
"""

from __future__ import annotations

import logging
import mmap
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, TypedDict

import numpy as np

from model_endpoint.drift.bins import CategoryBins, NumberBins
from model_endpoint.drift.distribution import Spread
from model_endpoint.drift.tallies import Tally, tally_below, tally_of

PARTS = 4  # into which the numbers between two deciles of training are parted, to place bounds
_SIGN, _BITS = 1 << 63, 64

log = logging.getLogger(__name__)


class AnswerFields(TypedDict, total=False):
    """The answers of an output: `counts` by `classes`, or by `bounds` of numbers.

    Classes have three bins more, together for what is none of them. Numbers have a bin below each bound, one from the
    last bound on, and one for what is no number.
    """

    classes: list[str]
    bounds: list[float]
    counts: list[int]


class AnswerCounts:
    """The counts of a model's outputs, a block for each worker in shared memory; made before the workers are forked."""

    def __init__(self, outputs: Sequence[Spread], max_workers: int) -> None:
        self._names = [spread.name for spread in outputs]
        self._kinds = [_kind(spread.bins) for spread in outputs]
        self._tallies: list[Tally] = [
            tally_of(spread.bins) if isinstance(spread.bins, CategoryBins) else tally_below(kind["bounds"])
            for spread, kind in zip(outputs, self._kinds, strict=True)
        ]
        sizes = [len(tally([])) for tally in self._tallies]
        starts = np.cumsum([0, *sizes]).tolist()
        self._slices = [slice(start, end) for start, end in pairwise(starts)]
        memory = mmap.mmap(-1, max(1, max_workers * starts[-1]) * 8)
        self._blocks = np.frombuffer(memory, np.float64)[: max_workers * starts[-1]].reshape(max_workers, -1)

    def count(self, worker: int, answers: list[Any]) -> None:
        """Count one answer of each of some requests into the block of the worker with this index."""
        if not (self._names and answers):
            return
        try:
            several = isinstance(answers[0], list)
            outputs = [list(one) for one in zip(*answers, strict=True)] if several else [answers]
            counts = [tally(one) for tally, one in zip(self._tallies, outputs, strict=True)]
            self._blocks[worker] += np.concatenate(counts)
        except Exception:  # whatever is wrong with them, the requests are answered
            log.exception("the answers to %d requests could not be counted", len(answers))

    def values(self) -> dict[str, AnswerFields]:
        """The answers since the endpoint's start, added up over all workers, by output."""
        counts = self._blocks.sum(axis=0)
        return {
            name: {**kind, "counts": [int(count) for count in counts[part]]}
            for name, kind, part in zip(self._names, self._kinds, self._slices, strict=True)
        }


def _kind(bins: NumberBins | CategoryBins) -> AnswerFields:
    """The fields that say what is counted."""
    if isinstance(bins, CategoryBins):
        return {"classes": bins.labels[: len(bins.values)]}
    return {"bounds": common_bounds(bins)}


def common_bounds(bins: NumberBins) -> list[float]:
    """Bounds of numbers that two releases have in common wherever both of them spread, whatever training gave them.

    All floats, in their order, are halved again and again, as long as a half has more than one of the points that part
    training's deciles. The halves do not depend on training, only how often they are halved does. What two releases
    answer falls into the same halves down to where either is alone, so a bound that keeps them apart is in both.
    """
    deciles = [bins.lowest, *bins.bounds]
    at = np.arange((len(deciles) - 1) * PARTS + 1) / PARTS
    points = np.interp(at, np.arange(len(deciles)), deciles)
    places = sorted({_place(float(point)) for point in points})
    if len(places) == 1:  # a model that always answered the same
        places.append(places[0] + 1)
    return [bound for bound in _halve(0, _BITS, places) if isfinite(bound)]


def _halve(first: int, bits: int, places: list[int]) -> Iterator[float]:
    """Yield the bounds between the 2**bits floats from place `first` on, of which `places` are points."""
    if len(places) < 2:
        return
    middle = first + (1 << (bits - 1))
    below = [place for place in places if place < middle]
    yield from _halve(first, bits - 1, below)
    yield _float_at(middle)
    yield from _halve(middle, bits - 1, places[len(below) :])


def _place(number: float) -> int:
    """The place of a float among all floats, in their order; that of 0 is in the middle."""
    (bits,) = struct.unpack("<Q", struct.pack("<d", number))
    return int(_SIGN + bits if bits < _SIGN else 2 * _SIGN - bits)


def _float_at(place: int) -> float:
    bits = place - _SIGN if place >= _SIGN else 2 * _SIGN - place
    (number,) = struct.unpack("<d", struct.pack("<Q", bits))
    return float(number)

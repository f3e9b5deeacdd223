"""Count a model's rows and answers into bins that all workers share. Runs in a worker.

The counts are in shared memory, a block for each worker, and add up as those of `model_endpoint.runtime.metrics` do.
Rows wait until there are many or a second is over: counting them together costs a fraction of counting each.
"""

from __future__ import annotations

import logging
import mmap
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from random import random
from time import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.drift.answers import AnswerCounts
from model_endpoint.drift.bins import NumberBins
from model_endpoint.drift.distribution import Distribution, read
from model_endpoint.drift.tallies import listed, tally_of
from model_endpoint.models.card import Card
from model_endpoint.models.contract import ARRAY, Columns, Input
from model_endpoint.models.model import Models

TOGETHER = 1024  # rows that are counted at once
FEW = 64  # a request of more rows is counted alone
SECONDS = 1.0  # the longest that a row waits to be counted
WINDOW_ROWS = 2000
PART_ROWS = 250  # after so many, a worker begins the next part of its window
PARTS = WINDOW_ROWS // PART_ROWS + 1
_BEGUN, _LAST, _ROWS, _COUNTS = range(4)  # where a part has what, before the counts of all bins

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Window:
    """The last rows, of all workers: when the first and the last came, and the counts of all bins."""

    rows: int
    begun: float
    last: float
    counts: list[float]


class ModelCounts:
    """The counts of one model; made before the workers are forked.

    The bins of all columns, then of all outputs, make one list; `slices` says where each has its own.
    """

    def __init__(self, distribution: Distribution, card: Card, max_workers: int) -> None:
        self.distribution = distribution
        places = {feature.name: at for at, feature in enumerate(card.features)}
        self._at = [places[spread.name] for spread in distribution.columns]
        spreads = [*distribution.columns, *distribution.outputs]
        known = [card.features[at].categories for at in self._at] + [None] * len(distribution.outputs)
        self._tallies = [tally_of(spread.bins, one) for spread, one in zip(spreads, known, strict=True)]
        starts = np.cumsum([0, *(len(spread.counts) for spread in spreads)]).tolist()
        self.slices = [slice(start, end) for start, end in pairwise(starts)]
        self._bins = starts[-1]
        own = self._bins + len(distribution.outputs)
        part = _COUNTS + self._bins
        memory = mmap.mmap(-1, max_workers * (own + PARTS * part) * 8)
        blocks = np.frombuffer(memory, np.float64).reshape(max_workers, own + PARTS * part)
        self._totals, self._sums = blocks[:, : self._bins], blocks[:, self._bins : own]
        self._parts = blocks[:, own:].reshape(max_workers, PARTS, part)
        self.answers = AnswerCounts(distribution.outputs, max_workers)
        self._worker = 0
        self._lock = threading.Lock()
        self._width = len(card.features)
        # What an array of numbers is made of again; None for a model that gets anything else.
        self._dtype = card.input_dtype if card.form == ARRAY and card.input_dtype.kind == "f" else None
        self._dates = any(card.features[at].type == "datetime" for at in self._at)
        self._forget()

    def claim(self, worker: int) -> None:
        """Count into the block of the worker with this index, which continues with that of the one before."""
        self._worker = worker

    def count(self, given: Input, predictions: NDArray[Any], by_chance: bool = True) -> None:
        """Count the rows of a request, as the predictor got them, and their predictions; few rows wait for `flush`.

        `by_chance` says whether chance chose the release that answers, and not the client.
        """
        few = len(predictions) <= FEW
        answers: Any = predictions.tolist() if few else predictions
        with self._lock:
            if by_chance:  # any of the answers, with the same chance
                at = int(random() * len(answers)) if len(answers) > 1 else 0  # noqa: S311 - no secret
                self._drawn.append(answers[at] if few else predictions[at : at + 1].tolist()[0])
            if not few:
                arrays = given.arrays if isinstance(given, Columns) else given.T
                self._add([arrays[at] for at in self._at], answers)
                return
            # The values alone wait, since to keep arrays of a row each would cost more than to count them.
            if self._dtype is None or isinstance(given, Columns):
                self._cells += self._cells_of(given, len(answers))
            else:
                self._numbers += given.tobytes()
            self._answers += answers
            if len(self._answers) >= TOGETHER:
                self._flush()

    def flush(self) -> None:
        """Count the rows that wait."""
        with self._lock:
            if self._answers or self._drawn:
                self._flush()

    def totals(self) -> list[float]:
        """The counts of all bins since the endpoint has begun, added up over all workers."""
        counts: list[float] = self._totals.sum(axis=0).tolist()
        return counts

    def sums(self) -> list[float]:
        """For each output the sum of all that it predicted, 0 for one of categories."""
        sums: list[float] = self._sums.sum(axis=0).tolist()
        return sums

    def window(self) -> Window | None:
        """The last WINDOW_ROWS rows, and what has been counted together with them; None before the first row."""
        parts = self._parts.reshape(-1, self._parts.shape[-1])
        parts = parts[parts[:, _ROWS] > 0]
        if not len(parts):
            return None
        parts = parts[np.argsort(-parts[:, _LAST], kind="stable")]
        parts = parts[: int(np.searchsorted(np.cumsum(parts[:, _ROWS]), WINDOW_ROWS)) + 1]
        return Window(
            int(parts[:, _ROWS].sum()),
            float(parts[:, _BEGUN].min()),
            float(parts[:, _LAST].max()),
            parts[:, _COUNTS:].sum(axis=0).tolist(),
        )

    def _forget(self) -> None:
        self._numbers = bytearray()
        self._cells: list[Any] = []
        self._answers: list[Any] = []
        self._drawn: list[Any] = []  # one answer of each request

    def _cells_of(self, given: Input, rows: int) -> Iterable[Any]:
        """The values of the columns that are counted, row by row."""
        arrays = given.arrays if isinstance(given, Columns) else given.T
        if rows == 1 and not self._dates:
            return [arrays[at].item() for at in self._at]  # the usual case, at half the cost
        return chain.from_iterable(zip(*(listed(arrays[at]) for at in self._at), strict=True))

    def _flush(self) -> None:
        columns: list[Any] = [self._cells[at :: len(self._at)] for at in range(len(self._at))]
        answers = self._answers
        self.answers.count(self._worker, self._drawn)
        if self._dtype is not None:
            rows = np.frombuffer(self._numbers, self._dtype).reshape(-1, self._width)
            columns = [rows[:, at] for at in self._at]
        self._forget()
        if answers:
            self._add(columns, answers)

    def _add(self, columns: list[Any], answers: Any) -> None:
        try:
            outputs = self._outputs_of(answers)
            values = [*columns, *outputs]
            counts = np.concatenate([tally(one) for tally, one in zip(self._tallies, values, strict=True)])
        except Exception:  # whatever is wrong with them, the requests are answered
            log.exception("the values of %d rows could not be counted", len(answers))
            return
        self._totals[self._worker] += counts
        for at, (output, spread) in enumerate(zip(outputs, self.distribution.outputs, strict=True)):
            if isinstance(spread.bins, NumberBins):
                self._sums[self._worker, at] += np.sum(output)
        part = self._part()
        part[_LAST] = time()
        part[_ROWS] += len(answers)
        part[_COUNTS:] += counts

    def _outputs_of(self, answers: Any) -> list[Any]:
        """The answers by output: lists of a list of answers, arrays of an array."""
        if not self.distribution.outputs:
            return []
        if isinstance(answers, np.ndarray):
            return [answers] if answers.ndim == 1 else list(answers.T)
        return list(zip(*answers, strict=True)) if isinstance(answers[0], list) else [answers]

    def _part(self) -> NDArray[np.float64]:
        """The part of this worker's window that is counted into: its newest, or the oldest anew once that is full."""
        parts: NDArray[np.float64] = self._parts[self._worker]
        newest: NDArray[np.float64] = parts[parts[:, _LAST].argmax()]
        if 0 < newest[_ROWS] < PART_ROWS:
            return newest
        oldest: NDArray[np.float64] = parts[parts[:, _LAST].argmin()]
        oldest[:] = 0
        oldest[_BEGUN] = time()
        return oldest


class ValueCounts:
    """The counts of all models that have a distribution, by name."""

    def __init__(self, models: Mapping[str, ModelCounts]) -> None:
        self.models = models
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._flush, name="value-counts", daemon=True)

    @classmethod
    def of(cls, models: Models, folder: Path, max_workers: int) -> ValueCounts:
        """Make the counts of the models in `folder`. Raises BundleError for a distribution that is broken."""
        found = {name: read(folder / name, model.card) for name, model in models.items()}
        return cls(
            {name: ModelCounts(one, models[name].card, max_workers) for name, one in found.items() if one}
        )

    def start(self, worker: int) -> None:
        """Count for the worker with this index, and flush what waits; a thread does not survive a fork."""
        for model in self.models.values():
            model.claim(worker)
        if self.models:
            self._thread.start()

    def stop(self) -> None:
        """Count what waits, and end the thread."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def _flush(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(SECONDS)
            for model in self.models.values():
                model.flush()

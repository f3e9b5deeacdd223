"""Counters of requests that all workers share, so that a scrape is right whichever worker answers it. Runs in a worker.

The counters are in shared memory. Each worker writes to a block of its own, so no count is lost to another process;
a scrape adds the blocks up. The successor of a dead worker continues with the dead one's block.
`model_endpoint.runtime.prometheus` turns the sums into text.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
import threading
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from time import time

STATUSES = ("200", "400", "404", "405", "413", "415", "500", "other")
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)
NO_MODEL = ""

# Where the counters of a model are, in float64 from the start of the model's part of a block.
_IN_FLIGHT = 0
_STATUS = 1
_STATUS_AT = {int(status): _STATUS + index for index, status in enumerate(STATUSES[:-1])}
_STATUS_OTHER = _STATUS + len(STATUSES) - 1
_SECONDS = _STATUS + len(STATUSES)
_SECONDS_SUM = _SECONDS + len(SECONDS) + 1
_ROWS = _SECONDS_SUM + 1
_ROWS_SUM = _ROWS + len(ROWS) + 1
_CALLS = _ROWS_SUM + 1
_CALLS_SUM = _CALLS + len(ROWS) + 1
_UNKNOWN = _CALLS_SUM + 1
_SIZE = _UNKNOWN + 1


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts per bucket, the last for values above all bounds, and the sum of the values."""

    bounds: tuple[float, ...]
    counts: list[float]
    sum: float


@dataclass(frozen=True, slots=True)
class Totals:
    """The counters of one model, added up over all workers; `statuses` has a count for each of STATUSES."""

    in_flight: float
    statuses: dict[str, float]
    seconds: Histogram
    rows: Histogram
    calls: Histogram
    unknown: float


class Metrics:
    """The counters by model; made before the workers are forked, then each worker claims its block.

    `max_workers` is the number of workers that may run at a time. `start_time` is when they were made, since the epoch.
    """

    def __init__(self, models: Iterable[str], max_workers: int) -> None:
        self.start_time = time()
        self._starts = {name: index * _SIZE + 1 for index, name in enumerate([*models, NO_MODEL])}
        # The first number of a block is its worker's process id.
        self._block_size = len(self._starts) * _SIZE + 1
        self._max_workers = max_workers
        self._numbers = memoryview(mmap.mmap(-1, max_workers * self._block_size * 8)).cast("d")
        self._locks = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._own = 0
        self._lock = threading.Lock()

    def claim(self) -> int:
        """Claim a block that no living process has locked, and return its number, the worker's index.

        Raises RuntimeError when all are locked.
        """
        for worker in range(self._max_workers):
            try:
                fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, worker)
            except OSError:
                continue
            self._own = worker * self._block_size
            self._numbers[self._own] = os.getpid()
            for start in self._starts.values():
                # The dead worker's requests in flight ended with it.
                self._numbers[self._own + start + _IN_FLIGHT] = 0
            return worker
        raise RuntimeError(f"all {self._max_workers} blocks of the metrics belong to running workers")

    def begin(self, model: str) -> None:
        """Count a request for `model` as in flight."""
        with self._lock:
            self._numbers[self._own + self._start(model) + _IN_FLIGHT] += 1

    def end(self, begun: str, model: str, status: int, seconds: float, rows: int) -> None:
        """Count an answer to a request for `model`, which `begin` counted under `begun`."""
        numbers = self._numbers
        at = self._own + self._start(model)
        with self._lock:
            numbers[self._own + self._start(begun) + _IN_FLIGHT] -= 1
            numbers[at + _STATUS_AT.get(status, _STATUS_OTHER)] += 1
            numbers[at + _SECONDS + bisect_left(SECONDS, seconds)] += 1
            numbers[at + _SECONDS_SUM] += seconds
            if rows:
                numbers[at + _ROWS + bisect_left(ROWS, rows)] += 1
                numbers[at + _ROWS_SUM] += rows

    def count_call(self, model: str, rows: int) -> None:
        """Count one call of a model that shares its calls, with the rows of all requests in the call."""
        at = self._own + self._start(model)
        with self._lock:
            self._numbers[at + _CALLS + bisect_left(ROWS, rows)] += 1
            self._numbers[at + _CALLS_SUM] += rows

    def count_unknown(self, model: str, values: int) -> None:
        """Count values that the model's contract takes although training did not have them."""
        with self._lock:
            self._numbers[self._own + self._start(model) + _UNKNOWN] += values

    def totals(self) -> dict[str, Totals]:
        """The counters of each model and of NO_MODEL, added up over all workers."""
        return {name: self._totals(start) for name, start in self._starts.items()}

    def processes(self) -> dict[int, int]:
        """The process ids of all workers so far, by the worker's index; some may have ended."""
        ids = {worker: int(self._numbers[worker * self._block_size]) for worker in range(self._max_workers)}
        return {worker: process for worker, process in ids.items() if process}

    def _start(self, model: str) -> int:
        return self._starts.get(model, self._starts[NO_MODEL])

    def _totals(self, start: int) -> Totals:
        blocks = [worker * self._block_size + start for worker in range(self._max_workers)]
        sums = [sum(self._numbers[at + index] for at in blocks) for index in range(_SIZE)]
        return Totals(
            sums[_IN_FLIGHT],
            dict(zip(STATUSES, sums[_STATUS:_SECONDS], strict=True)),
            Histogram(SECONDS, sums[_SECONDS:_SECONDS_SUM], sums[_SECONDS_SUM]),
            Histogram(ROWS, sums[_ROWS:_ROWS_SUM], sums[_ROWS_SUM]),
            Histogram(ROWS, sums[_CALLS:_CALLS_SUM], sums[_CALLS_SUM]),
            sums[_UNKNOWN],
        )

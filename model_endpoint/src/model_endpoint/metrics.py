"""Prometheus metrics that are right over all workers, because all workers count in one shared memory.

Each worker writes to a slot of its own, so no count is ever lost to another process; a scrape, whichever
worker it reaches, adds the slots up. A worker that takes over a dead one's slot goes on counting from there.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
import threading
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from model_endpoint.model import Models

STATUSES = ("200", "400", "404", "405", "413", "415", "500", "other")
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)
NO_MODEL = ""
ERRORS = {
    "400": "bad_input",
    "404": "unknown_route_or_model",
    "405": "wrong_method",
    "413": "body_too_large",
    "415": "wrong_content_type",
    "500": "failed",
}

# Where a model's counts lie, in float64 from the start of its part of a slot.
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
_SIZE = _CALLS_SUM + 1


class Metrics:
    """Counts of requests by model; made before the workers are forked, claimed by each of them after."""

    def __init__(self, models: Models, release: str, slots: int) -> None:
        self._labels = {
            name: f'model="{name}",version="{model.card.version}",release="{_escape(release)}"'
            for name, model in models.items()
        }
        self._labels[NO_MODEL] = f'model="",version="",release="{_escape(release)}"'
        self._load_seconds = {name: model.load_seconds for name, model in models.items()}
        self._starts = {name: index * _SIZE + 1 for index, name in enumerate(self._labels)}
        self._slot_size = (
            len(self._labels) * _SIZE + 1
        )  # the first number of a slot is its worker's process id
        self._slots = slots
        self._numbers = memoryview(mmap.mmap(-1, self._slots * self._slot_size * 8)).cast("d")
        self._locks = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._own = 0
        self._lock = threading.Lock()

    def claim(self) -> int:
        """Take a slot for this process, one whose lock no living process holds, and return its number."""
        for slot in range(self._slots):
            try:
                fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            except OSError:
                continue
            self._own = slot * self._slot_size
            self._numbers[self._own] = os.getpid()
            for start in self._starts.values():
                self._numbers[self._own + start + _IN_FLIGHT] = (
                    0  # what the dead worker was busy with is over
                )
            return slot
        raise RuntimeError(f"all {self._slots} slots of the metrics are taken")

    def begin(self, model: str) -> None:
        """Count a request in."""
        with self._lock:
            self._numbers[self._own + self._start(model) + _IN_FLIGHT] += 1

    def end(self, begun: str, model: str, status: int, seconds: float, rows: int) -> None:
        """Count a request out that was counted in under `begun` and turned out to be for `model`."""
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
        """Count one call of a model that shares its calls, with the rows of all requests it served."""
        at = self._own + self._start(model)
        with self._lock:
            self._numbers[at + _CALLS + bisect_left(ROWS, rows)] += 1
            self._numbers[at + _CALLS_SUM] += rows

    def _start(self, model: str) -> int:
        return self._starts.get(model, self._starts[NO_MODEL])

    def render(self) -> str:
        """All metrics in Prometheus' text format, version 0.0.4."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        totals = {name: self._total(start) for name, start in self._starts.items()}
        yield from _head("flotilla_requests_total", "counter", "Requests answered, by HTTP status.")
        for name, total in totals.items():
            for index, status in enumerate(STATUSES):
                if count := total[_STATUS + index]:
                    yield f'flotilla_requests_total{{{self._labels[name]},status="{status}"}} {count:.0f}'
        yield from _head("flotilla_errors_total", "counter", "Requests refused or failed, by kind.")
        for name, total in totals.items():
            for status, kind in ERRORS.items():
                count = total[_STATUS + STATUSES.index(status)]
                yield f'flotilla_errors_total{{{self._labels[name]},kind="{kind}"}} {count:.0f}'
        yield from self._histogram(
            totals, "flotilla_request_seconds", "Time to answer.", SECONDS, _SECONDS, _SECONDS_SUM
        )
        yield from self._histogram(
            totals, "flotilla_request_rows", "Rows per request.", ROWS, _ROWS, _ROWS_SUM
        )
        yield from self._histogram(
            totals,
            "flotilla_call_rows",
            "Rows per shared call of a model that is not compiled.",
            ROWS,
            _CALLS,
            _CALLS_SUM,
        )
        yield from _head("flotilla_rows_total", "counter", "Rows predicted.")
        for name, total in totals.items():
            yield f"flotilla_rows_total{{{self._labels[name]}}} {total[_ROWS_SUM]:.0f}"
        yield from _head("flotilla_requests_in_flight", "gauge", "Requests being answered.")
        for name, total in totals.items():
            yield f"flotilla_requests_in_flight{{{self._labels[name]}}} {total[_IN_FLIGHT]:.0f}"
        yield from _head("flotilla_model_load_seconds", "gauge", "Time it took to load the model.")
        for name, seconds in self._load_seconds.items():
            yield f"flotilla_model_load_seconds{{{self._labels[name]}}} {seconds:.6f}"
        yield from _head("flotilla_process_memory_bytes", "gauge", "Proportional memory of each worker.")
        for slot in range(self._slots):
            process = int(self._numbers[slot * self._slot_size])
            if process and (memory := _proportional_memory(process)) is not None:
                yield f'flotilla_process_memory_bytes{{worker="{slot}"}} {memory}'

    def _total(self, start: int) -> list[float]:
        slots = [slot * self._slot_size + start for slot in range(self._slots)]
        return [sum(self._numbers[at + index] for at in slots) for index in range(_SIZE)]

    def _histogram(
        self,
        totals: dict[str, list[float]],
        metric: str,
        text: str,
        bounds: tuple[float, ...],
        at: int,
        total_at: int,
    ) -> Iterator[str]:
        yield from _head(metric, "histogram", text)
        for name, total in totals.items():
            labels = self._labels[name]
            running = 0.0
            for index, bound in enumerate(bounds):
                running += total[at + index]
                yield f'{metric}_bucket{{{labels},le="{bound}"}} {running:.0f}'
            running += total[at + len(bounds)]
            yield f'{metric}_bucket{{{labels},le="+Inf"}} {running:.0f}'
            yield f"{metric}_sum{{{labels}}} {total[total_at]:.9g}"
            yield f"{metric}_count{{{labels}}} {running:.0f}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _proportional_memory(process: int) -> int | None:
    """Bytes of a process, pages it shares counted in parts; None when it is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)

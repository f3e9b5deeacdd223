"""Serving by scikit-learn itself, for the models that do not compile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from model_endpoint.predictors import Outputs, Predictor, Rows, SklearnPredictor


def load(path: Path, allowed_types: list[str]) -> SklearnPredictor:
    """Load a model file. Importing scikit-learn costs a second and 100 MB, so only this does it."""
    import skops.io

    estimator = skops.io.load(path, trusted=allowed_types)
    force_one_job(estimator)
    return SklearnPredictor(estimator)


def limit_threads(workers: int) -> None:
    """Hold BLAS and OpenMP of this worker to its part of the container's CPU share.

    Without it each worker starts a thread per core of the machine, and they fight over the container's share.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=max(1, cpu_share() // workers))


def cpu_share(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """The CPUs this container may use, at least 1: its cgroup's quota (version 2 or 1) or its affinity."""
    share = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return int(share)
    if quota.strip() not in ("max", "-1"):
        share = min(share, int(quota) / int(period))
    return max(1, int(share))


def force_one_job(estimator: Any) -> None:
    """Set n_jobs to 1 in an estimator and all it is made of: a process per request thread is job enough."""
    stack, seen = [estimator], set()
    while stack:
        part = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, list | tuple):
            stack += part
        elif isinstance(part, dict):
            stack += part.values()
        elif isinstance(part, np.ndarray) and part.dtype == object:
            stack += part.ravel().tolist()
        elif hasattr(part, "get_params"):
            if getattr(part, "n_jobs", 1) != 1:
                part.n_jobs = 1
            stack += vars(part).values()


class SharedCalls:
    """Puts the requests that wait into one call of the predictor.

    There is no timer: a request that finds nobody calling goes at once, and those that arrive meanwhile go
    together when it is done.
    """

    def __init__(self, predictor: Predictor, count: Callable[[int], None], most_rows: int = 4096) -> None:
        self._predictor = predictor
        self._count = count
        self._most_rows = most_rows
        self._waiting: list[_Ticket] = []
        self._list = threading.Lock()
        self._turn = threading.Lock()

    def __call__(self, rows: Rows, probabilities: bool = True) -> Outputs:
        ticket = _Ticket(rows, probabilities)
        with self._list:
            self._waiting.append(ticket)
        with self._turn:
            # Unless somebody before us took it along; more than once if there are rows for several calls.
            while ticket.outputs is None and ticket.error is None:
                self._serve(self._take())
        if ticket.error is not None:
            raise ticket.error
        assert ticket.outputs is not None
        return ticket.outputs

    def _take(self) -> list[_Ticket]:
        with self._list:
            rows = np.cumsum([len(ticket.rows) for ticket in self._waiting])
            count = max(1, int(np.searchsorted(rows, self._most_rows, side="right")))
            taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _serve(self, tickets: list[_Ticket]) -> None:
        try:
            rows = np.concatenate([ticket.rows for ticket in tickets])
            outputs = self._predictor(rows, any(ticket.probabilities for ticket in tickets))
            self._count(len(rows))
        except Exception as error:
            if len(tickets) > 1:  # one of them is at fault; each alone finds out which
                for ticket in tickets:
                    self._serve([ticket])
            else:
                tickets[0].error = error
            return
        end = 0
        for ticket in tickets:
            start, end = end, end + len(ticket.rows)
            ticket.outputs = {name: array[start:end] for name, array in outputs.items()}


class _Ticket:
    """The rows of one request, and what became of them."""

    def __init__(self, rows: Rows, probabilities: bool) -> None:
        self.rows = rows
        self.probabilities = probabilities
        self.outputs: Outputs | None = None
        self.error: Exception | None = None

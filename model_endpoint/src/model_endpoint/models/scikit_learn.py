"""Answer rows with scikit-learn itself, for models that don't compile. Runs in the build and in a worker."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.card import PREDICT, PROBABILITIES, Card
from model_endpoint.models.contract import ARRAY, Columns, Input
from model_endpoint.models.frames import Make, maker
from model_endpoint.models.predictor import Outputs, require_finite


class SklearnPredictor:
    """Serves a fitted estimator by its own methods: `predict` and, where it has them, the others.

    `make` makes the estimator's input of columns; it is None for an estimator that gets an array.
    """

    def __init__(self, estimator: Any, make: Make | None = None) -> None:
        self._estimator = estimator
        self._make = make

    def __call__(self, rows: Input, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        given = self._make(rows) if self._make and isinstance(rows, Columns) else rows
        outputs: Outputs = {PREDICT: as_array(self._estimator.predict(given))}
        if probabilities and hasattr(self._estimator, PROBABILITIES):
            proba = self._estimator.predict_proba(given)
            if isinstance(proba, list):  # a classifier of several outputs returns one array for each
                outputs |= {f"{PROBABILITIES}_{index}": as_array(array) for index, array in enumerate(proba)}
            else:
                outputs[PROBABILITIES] = as_array(proba)
        outputs |= {name: as_array(getattr(self._estimator, name)(given)) for name in more}
        for array in outputs.values():
            if array.dtype.kind == "f":
                require_finite(array)
        return outputs


def as_array(values: Any) -> NDArray[Any]:
    """An estimator's answer as an array, be it a sparse matrix, a data frame or a list."""
    array: NDArray[Any] = np.asarray(values.toarray() if hasattr(values, "toarray") else values)
    return array


def load(path: Path, card: Card) -> SklearnPredictor:
    """Load an estimator's file; only this imports scikit-learn, which costs a second and 100 MB.

    The image's build has found the card's `allowed_types` to be trusted. Raises OSError, ValueError, KeyError or
    TypeError when the file can't be loaded.
    """
    from model_endpoint.models import stored

    estimator = stored.load(card, path.read_bytes(), card.allowed_types)
    force_one_job(estimator)
    return predictor_of(estimator, card)


def predictor_of(estimator: Any, card: Card) -> SklearnPredictor:
    """The predictor of an estimator that gets the form its card names; raises ImportError where pandas is missing."""
    return SklearnPredictor(estimator, None if card.form == ARRAY else maker(card))


def limit_threads(workers: int) -> None:
    """Limit BLAS and OpenMP in this worker to the worker's part of the container's CPU share.

    Without the limit each worker starts a thread per core of the machine, and the threads compete for the container's
    share.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=max(1, cpu_share() // workers))


def cpu_share(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """The number of CPUs this container may use, at least 1: its cgroup's quota (version 2 or 1) or its affinity."""
    # macOS, where models are packed and tried, has no affinity.
    share = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
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
    """Set n_jobs to 1 in an estimator and all its parts: the workers use the CPUs already."""
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
        elif type(part).__module__ == "xgboost.core" and hasattr(part, "set_param"):
            # The estimator's n_jobs does not reach it; more threads would hang after a fork.
            part.set_param({"nthread": 1})
        elif hasattr(part, "get_params"):
            if getattr(part, "n_jobs", 1) != 1:
                part.n_jobs = 1
            stack += getattr(part, "__dict__", {}).values()

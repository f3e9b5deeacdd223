"""Answer rows with scikit-learn itself, for models that don't compile. Runs in the build and in a worker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from model_endpoint.models.predictor import Outputs, Rows, require_finite


class SklearnPredictor:
    """Serves a fitted estimator by its own `predict` and, where it has one, `predict_proba`."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    def __call__(self, rows: Rows, probabilities: bool = True) -> Outputs:
        outputs: Outputs = {"predict": np.asarray(self._estimator.predict(rows))}
        if probabilities and hasattr(self._estimator, "predict_proba"):
            proba = self._estimator.predict_proba(rows)
            if isinstance(proba, list):  # a classifier of several outputs returns one array for each
                outputs |= {f"predict_proba_{index}": array for index, array in enumerate(proba)}
            else:
                outputs["predict_proba"] = proba
        for array in outputs.values():
            if array.dtype.kind == "f":
                require_finite(array)
        return outputs


def load(path: Path, allowed_types: list[str]) -> SklearnPredictor:
    """Load a model file in skops form; only this imports scikit-learn, which costs a second and 100 MB.

    The image's build has found `allowed_types` to be trusted. Raises OSError, ValueError, KeyError or TypeError when
    the file can't be loaded.
    """
    from model_endpoint.models import skops_file

    estimator = skops_file.loads(path.read_bytes(), allowed_types)
    force_one_job(estimator)
    return SklearnPredictor(estimator)


def limit_threads(workers: int) -> None:
    """Limit BLAS and OpenMP in this worker to the worker's part of the container's CPU share.

    Without the limit each worker starts a thread per core of the machine, and the threads compete for the container's
    share.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=max(1, cpu_share() // workers))


def cpu_share(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """The number of CPUs this container may use, at least 1: its cgroup's quota (version 2 or 1) or its affinity."""
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
        elif hasattr(part, "get_params"):
            if getattr(part, "n_jobs", 1) != 1:
                part.n_jobs = 1
            stack += vars(part).values()

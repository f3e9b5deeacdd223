"""The estimators, loaded as a peer's own user would have them. Runs in each peer's environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import joblib
import skops.io

MODELS = Path(os.environ["BENCH_MODELS"])
SHIPPED = ("iris", "breast_cancer")
FRAMES = ("mixed", "mixed_boosting")
NAMES = (*SHIPPED, *FRAMES, "text", "xgboost")


def load(name: str) -> Any:
    """Return the estimator of a model: the shipped ones are in skops' format, the others in joblib's."""
    if name in SHIPPED:
        return skops.io.load(MODELS / name / "model.skops", trusted=["sklearn.tree._tree.Tree"])
    return joblib.load(MODELS / name / "estimator.joblib")

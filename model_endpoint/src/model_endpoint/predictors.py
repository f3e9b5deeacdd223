"""What turns rows into outputs once a model is loaded."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Outputs = dict[str, NDArray[Any]]


class Predictor(Protocol):
    """Answers rows of shape (n, features), finite float64, with one array of n rows per output name."""

    def __call__(self, rows: Rows) -> Outputs: ...


class SklearnPredictor:
    """Serves a fitted estimator by its own `predict` and, where it has one, `predict_proba`."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    def __call__(self, rows: Rows) -> Outputs:
        outputs: Outputs = {"predict": np.asarray(self._estimator.predict(rows))}
        if hasattr(self._estimator, "predict_proba"):
            proba = self._estimator.predict_proba(rows)
            if isinstance(proba, list):  # a classifier of several outputs answers with one array for each
                outputs |= {f"predict_proba_{index}": array for index, array in enumerate(proba)}
            else:
                outputs["predict_proba"] = proba
        return outputs

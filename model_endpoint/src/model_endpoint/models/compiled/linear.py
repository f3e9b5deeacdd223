"""The head that scores rows with weights. Runs in the build and in a worker."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.checks import require
from model_endpoint.models.compiled.tables import Sparse
from model_endpoint.models.predictor import Rows, Scores


class LinearHead:
    """Scores rows with `rows @ weights + intercept`; weights are (features,) or (features, scores)."""

    def __init__(self, weights: NDArray[np.float64], intercept: NDArray[np.float64]) -> None:
        self._weights = weights
        self._intercept = intercept

    def __call__(self, rows: Rows) -> Scores:
        return (rows @ self._weights + self._intercept).reshape(len(rows), -1)

    def of_sparse(self, rows: Sparse) -> Scores:
        """The scores of sparse rows."""
        weights = self._weights
        return rows.times(weights if weights.ndim == 2 else weights[:, np.newaxis]) + self._intercept

    @property
    def scores(self) -> int:
        """How many scores a row gets."""
        return 1 if self._weights.ndim == 1 else int(self._weights.shape[1])

    def check(self, columns: int) -> None:
        """Raise ValueError unless the weights are of as many columns."""
        numbers = all(array.dtype.kind == "f" for array in (self._weights, self._intercept))
        right = self._weights.ndim in (1, 2) and len(self._weights) == columns
        require(numbers and right and self.scores, "weights of other columns")
        require(self._intercept.shape in ((), (1,), (self.scores,)), "intercepts of other scores")

    def arrays(self) -> dict[str, NDArray[Any]]:
        # Fortran order, which coef_.T has, makes BLAS add in the same order as it does for scikit-learn.
        return {"weights": self._weights, "intercept": self._intercept}

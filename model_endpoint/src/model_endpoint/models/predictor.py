"""The interface of everything that answers rows. Runs in the build, in a worker and beside it."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Scores = NDArray[np.floating[Any]]
Outputs = dict[str, NDArray[Any]]


class Predictor(Protocol):
    """Answers n rows, n at least 1, with finite arrays of n rows by output name.

    `rows` are an array of shape (n, columns), or columns where the contract has another form. `probabilities` says
    whether the caller needs a classifier's probabilities besides its labels, `more` which further outputs it needs.
    Raises ValueError for rows that the model refuses, and for a result that is not finite.
    """

    def __call__(self, rows: Any, probabilities: bool = True, more: Collection[str] = ()) -> Outputs: ...


class RowError(ValueError):
    """A row of a call can't be answered; the message names it by its place in the call."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(f"row {row} {problem}")
        self.row = row
        self.problem = problem


def require_finite(array: NDArray[Any], *, allow_infinite: bool = False) -> None:
    """Raise RowError naming the first row of `array` with a NaN or, unless `allow_infinite`, an infinity."""
    if math.isfinite(array.sum()):  # the usual case, at half the cost of testing every number
        return
    wrong = np.isnan(array) if allow_infinite else ~np.isfinite(array)
    if wrong.any():
        row = int(wrong.reshape(len(array), -1).any(axis=1).argmax())
        raise RowError(row, "gives a result that is not finite")

"""A step that fills gaps by what other columns say, round after round. Runs in the build and in a worker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.checks import require, require_within
from model_endpoint.models.compiled.nodes import Step
from model_endpoint.models.compiled.tables import Floats, Ints, Table, dense


@dataclass(slots=True)
class ImputeInTurn(Step):
    """Fills gaps with numbers of `fill`, and then improves them, a column in each turn, by a line over all columns.

    In turn t the gaps of column `columns[t]` become the row times `weights[t]`, and `intercepts[t]`, between the
    column's numbers in `low` and `high`. Where gaps were in `indicators` is added.
    """

    fill: Floats
    columns: Ints
    weights: Floats
    intercepts: Floats
    low: Floats
    high: Floats
    indicators: Ints

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        gaps = np.isnan(matrix)
        if gaps.any():
            matrix = self._filled(matrix, gaps)
        if not len(self.indicators):
            return matrix
        return np.concatenate([matrix, gaps.take(self.indicators, axis=1)], axis=1)

    def _filled(self, matrix: Floats, gaps: NDArray[np.bool_]) -> Floats:
        filled: Floats = np.where(gaps, self.fill, matrix)
        if gaps.all():  # scikit-learn improves nothing where no row has a number
            return filled
        rows_of = {
            column: np.flatnonzero(gaps[:, column]) for column in np.flatnonzero(gaps.any(axis=0)).tolist()
        }
        for turn, column in enumerate(self.columns.tolist()):
            if column in rows_of:
                rows = rows_of[column]
                found = filled[rows] @ self.weights[turn] + self.intercepts[turn]
                filled[rows, column] = np.clip(found, self.low[column], self.high[column])
        return filled

    def width(self, columns: int) -> int:
        sizes = {self.fill.shape, self.low.shape, self.high.shape}
        require(sizes == {(columns,)}, "fillings of other columns")
        turns = len(self.columns)
        require(self.weights.shape == (turns, columns), "weights of other columns")
        require(self.intercepts.shape == (turns,), "intercepts of other turns")
        require_within(self.columns, columns, "columns of turns")
        require_within(self.indicators, columns, "indicators")
        return columns + len(self.indicators)

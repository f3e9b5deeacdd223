"""Steps that fill gaps by what other columns say. Runs in the build and in a worker."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.checks import require, require_within
from model_endpoint.models.compiled.neighbours import weights_of
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


@dataclass(slots=True)
class ImputeNearest(Step):
    """Fills gaps with the mean of the `count` nearest rows of `rows` that have a number there.

    `rows` are those of training, with their gaps. Columns that are not `kept` had no number. `weighted` counts nearer
    rows more. Where gaps were in `indicators` is added. All is computed as scikit-learn does, so that the same rows
    count where some are equally near.
    """

    rows: Floats
    count: int
    weighted: bool
    kept: Ints
    indicators: Ints
    _known: NDArray[np.bool_] = field(init=False)
    _numbers: Floats = field(init=False)

    def __post_init__(self) -> None:
        self._known = ~np.isnan(self.rows)
        self._numbers = np.where(self._known, self.rows, 0.0)

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        gaps = np.isnan(matrix)
        filled = matrix
        lacking = np.flatnonzero(gaps.take(self.kept, axis=1).any(axis=1))
        if len(lacking):
            filled = matrix.copy()
            distances = self._distances(matrix[lacking])
            for column in self.kept[gaps.take(self.kept, axis=1).any(axis=0)].tolist():
                rows = np.flatnonzero(gaps[lacking, column])
                filled[lacking[rows], column] = self._values(distances[rows], column)
        filled = filled.take(self.kept, axis=1)
        if not len(self.indicators):
            return filled
        return np.concatenate([filled, gaps.take(self.indicators, axis=1)], axis=1)

    def _distances(self, matrix: Floats) -> Floats:
        """The distances over the columns that both have, made longer where they are few; NaN where there are none."""
        lacks, unknown = np.isnan(matrix), ~self._known
        numbers = np.where(lacks, 0.0, matrix)
        squares: Floats = -2 * (numbers @ self._numbers.T)
        squares += np.einsum("ij,ij->i", numbers, numbers)[:, np.newaxis]
        squares += np.einsum("ij,ij->i", self._numbers, self._numbers)
        np.maximum(squares, 0, out=squares)
        squares -= np.dot(numbers * numbers, unknown.T)
        squares -= np.dot(lacks, (self._numbers * self._numbers).T)
        np.clip(squares, 0, None, out=squares)
        both = np.dot(1 - lacks, self._known.T)
        squares[both == 0] = np.nan
        squares /= np.maximum(1, both)
        squares *= matrix.shape[1]
        return np.asarray(np.sqrt(squares))

    def _values(self, distances: Floats, column: int) -> Floats:
        places = np.flatnonzero(self._known[:, column])
        numbers = self.rows[places, column]
        distances = distances.take(places, axis=1)
        values = np.full(len(distances), numbers.mean())
        some = ~np.isnan(distances).all(axis=1)
        if not some.any():
            return values
        distances = distances[some]
        count = min(self.count, len(places))
        nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(distances, nearest, axis=1)
        weights = weights_of(near) if self.weighted else np.ones_like(near)
        weights[np.isnan(near)] = 0.0
        values[some] = (numbers.take(nearest) * weights).sum(axis=1) / weights.sum(axis=1)
        return values

    def width(self, columns: int) -> int:
        require(self.rows.ndim == 2 and self.rows.shape[1] == columns, "rows of other columns")
        require(self.count > 0, "no neighbours")
        require_within(self.kept, columns, "kept columns")
        require_within(self.indicators, columns, "indicators")
        require(self._known.any(axis=0).take(self.kept).all(), "a kept column without numbers")
        return len(self.kept) + len(self.indicators)

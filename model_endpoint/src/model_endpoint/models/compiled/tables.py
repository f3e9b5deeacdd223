"""What the steps of a compiled model hand on: a matrix, sparse rows, or columns of any type.

Runs in the build and in a worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Labels = NDArray[Any]
NAN = float("nan")


@dataclass(slots=True)
class Sparse:
    """Rows that are mostly 0: `values` at the places `rows` and `columns`, in the order of the rows."""

    rows: Ints
    columns: Ints
    values: Floats
    count: int
    width: int

    def __len__(self) -> int:
        return self.count

    def dense(self) -> Floats:
        matrix = np.zeros((self.count, self.width))
        matrix[self.rows, self.columns] = self.values
        return matrix

    def sums(self, values: Floats) -> Floats:
        """The sum of `values`, one for each place, in each row; added one after another, as scipy does."""
        total: Floats = np.bincount(self.rows, values, self.count).astype(np.float64, copy=False)
        return total

    def each(self) -> Iterator[tuple[Ints, Floats]]:
        """The places and the values of each row in turn."""
        order = np.argsort(self.rows, kind="stable")
        ends = np.searchsorted(self.rows[order], np.arange(1, self.count))
        return zip(np.split(self.columns[order], ends), np.split(self.values[order], ends), strict=True)

    def normalized(self, norm: str) -> Sparse:
        """Each row divided by its norm: "l1", "l2" or "max"; a row of zeros stays."""
        norms = np.zeros(self.count)
        if norm == "max":
            np.maximum.at(norms, self.rows, np.abs(self.values))
        elif norm == "l2":
            norms = np.sqrt(self.sums(self.values * self.values))
        else:
            norms = self.sums(np.abs(self.values))
        norms[norms == 0] = 1.0
        return Sparse(self.rows, self.columns, self.values / norms.take(self.rows), self.count, self.width)

    def times(self, weights: Floats) -> Floats:
        """The rows multiplied by weights of the shape (columns, scores)."""
        if weights.shape[1] == 1:
            return self.sums(self.values * weights[:, 0].take(self.columns))[:, np.newaxis]
        parts = self.values[:, np.newaxis] * weights.take(self.columns, axis=0)
        if self.count == 1:
            total: Floats = parts.sum(axis=0, keepdims=True)
            return total
        return np.stack([self.sums(part) for part in parts.T], axis=1)


Table = Floats | Sparse | list[NDArray[Any]]
"""Of n rows: a matrix, sparse rows, or one array of n values for each column, in which NaN or None is a gap."""


def dense(table: Table) -> Floats:
    """The table as a matrix. Raises ValueError for a value that is no number."""
    if isinstance(table, np.ndarray):
        return table
    if isinstance(table, Sparse):
        return table.dense()
    matrix = np.empty((len(table[0]) if table else 0, len(table)))
    try:
        for at, column in enumerate(table):
            matrix[:, at] = column
    except TypeError as error:
        raise ValueError(f"a value is no number: {error}") from None
    return matrix


def ticks_of(dates: NDArray[Any]) -> NDArray[Any]:
    """Dates as whole numbers of their own unit since 1970; a missing one is NaN, among objects."""
    ticks = dates.astype(np.int64)
    gaps = np.isnat(dates)
    if not gaps.any():
        return ticks
    found = ticks.astype(object)
    found[gaps] = NAN
    return found


def columns_of(table: Table) -> list[NDArray[Any]]:
    """The table as columns."""
    if isinstance(table, list):
        return table
    return list(dense(table).T)


def rows_in(table: Table) -> int:
    return len(table[0]) if isinstance(table, list) else len(table)


def times(table: Table, weights: Floats) -> Floats:
    """The table multiplied by weights of the shape (columns, scores)."""
    return table.times(weights) if isinstance(table, Sparse) else dense(table) @ weights


def joined(tables: list[Table]) -> Table:
    """The tables side by side."""
    if len(tables) == 1:
        return tables[0]
    if not any(isinstance(table, Sparse) for table in tables):
        if all(isinstance(table, np.ndarray) for table in tables):
            return np.concatenate([dense(table) for table in tables], axis=1)
        return [column for table in tables for column in columns_of(table)]
    parts = [sparse(table) for table in tables]
    starts = np.cumsum([0, *(part.width for part in parts)])
    return Sparse(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.columns + start for part, start in zip(parts, starts[:-1], strict=True)]),
        np.concatenate([part.values for part in parts]),
        parts[0].count,
        int(starts[-1]),
    )


def sparse(table: Table) -> Sparse:
    """The table as sparse rows. Raises ValueError for a value that is no number."""
    if isinstance(table, Sparse):
        return table
    matrix = dense(table)
    rows, columns = np.nonzero(matrix)
    return Sparse(rows, columns, matrix[rows, columns], *matrix.shape)

"""Models that ask the nearest rows of training. Runs in the build and in a worker.

Where two rows are equally near and only one of them counts, scikit-learn takes the one that its search tree comes to
first: such a question goes through the same tree in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.checks import require, require_within
from model_endpoint.models.compiled.meta import PREDICT, PROBA
from model_endpoint.models.compiled.nodes import Head, Node, Step
from model_endpoint.models.compiled.tables import Floats, Ints, Labels, Table, dense
from model_endpoint.models.predictor import Outputs, require_finite

MOST_NUMBERS = 1 << 15  # of distances at a time, which stay in the processor's cache
PART = 16  # rows of which one may be among the nearest
LOST_DIGITS = 1e-12
SMALLEST_DENSITY = 1e-10  # scikit-learn's own


@dataclass(slots=True)
class Neighbours(Node):
    """The `count` rows of `rows` that are nearest to a row.

    `order`, `starts`, `ends`, `leaves` and `bounds`, of shape (2, nodes, columns), are the search tree: the children of
    node n are 2n + 1 and 2n + 2.
    """

    rows: Floats
    count: int
    order: Ints
    starts: Ints
    ends: Ints
    leaves: Ints
    bounds: Floats
    _sizes: Floats = field(init=False)

    def __post_init__(self) -> None:
        self._sizes = np.einsum("ij,ij->i", self.rows, self.rows)

    def __call__(self, table: Table) -> tuple[Ints, Floats]:
        """The numbers of the nearest rows, and their distances, the nearest first."""
        matrix = dense(table)
        require_finite(matrix)
        places = np.empty((len(matrix), self.count), dtype=np.int64)
        squares = np.empty((len(matrix), self.count))
        size = max(1, MOST_NUMBERS // len(self.rows))
        with np.errstate(all="ignore"):
            for start in range(0, len(matrix), size):
                part = slice(start, start + size)
                places[part], squares[part] = self._nearest(matrix[part])
        return places, np.sqrt(squares)

    def _nearest(self, matrix: Floats) -> tuple[Ints, Floats]:
        row, place = np.nonzero(self._near(matrix))
        square = _squares(self.rows.take(place, axis=0), matrix.take(row, axis=0))
        order = np.lexsort((place, square, row))
        place, square = place[order], square[order]
        ends = np.searchsorted(row, np.arange(1, len(matrix) + 1))
        starts = np.concatenate([[0], ends[:-1]])
        last = starts + self.count - 1
        unclear = ends <= last
        at = np.where(unclear, 0, starts)[:, np.newaxis] + np.arange(self.count)
        at = np.minimum(at, max(0, len(place) - 1))
        places, squares = place[at], square[at]
        more = ends > last + 1
        unclear[more] |= square[last[more]] == square[last[more] + 1]
        unclear |= ~np.isfinite(squares[:, -1])
        for one in np.flatnonzero(unclear).tolist():
            places[one], squares[one] = self._first_found(matrix[one])
        return places, squares

    def _near(self, matrix: Floats) -> NDArray[np.bool_]:
        """Which rows may be among the nearest: all that are, and few others.

        The smallest of some parts of the rows tell how far the last of the nearest can be; a product of matrices gives
        distances but for the last digits.
        """
        own = np.einsum("ij,ij->i", matrix, matrix)[:, np.newaxis]
        squares = self._sizes - 2.0 * (matrix @ self.rows.T) + own
        least, width = squares, len(self.rows) // PART
        if width >= self.count:
            least = np.minimum.reduce([squares[:, at * width : (at + 1) * width] for at in range(PART)])
        limit = np.partition(least, self.count - 1, axis=1)[:, self.count - 1, np.newaxis]
        return np.asarray(squares <= limit + LOST_DIGITS * (own + self._sizes.max()))

    def _first_found(self, row: Floats) -> tuple[list[int], list[float]]:
        """What a search through the tree finds."""
        squares = _squares(self.rows, row[np.newaxis]).tolist()
        gaps = np.maximum(self.bounds[0] - row, 0.0) + np.maximum(row - self.bounds[1], 0.0)
        least = _squares(gaps, np.zeros_like(gaps)).tolist()
        found, places = [math.inf] * self.count, [0] * self.count
        waiting = [0]
        while waiting:
            node = waiting.pop()
            if least[node] > found[0]:
                continue
            if self.leaves[node]:
                for place in self.order[self.starts[node] : self.ends[node]].tolist():
                    if squares[place] < found[0]:
                        _put(found, places, squares[place], place)
            else:
                near, far = 2 * node + 1, 2 * node + 2
                waiting += [far, near] if least[near] <= least[far] else [near, far]
        sequence = sorted(range(self.count), key=found.__getitem__)
        return [places[at] for at in sequence], [found[at] for at in sequence]

    def check(self, columns: int) -> None:
        """Raise ValueError unless the rows have as many columns, and the tree is one of them."""
        require(self.rows.ndim == 2 and self.rows.shape[1] == columns, "rows of other columns")
        require(0 < self.count <= len(self.rows), "more neighbours than rows")
        nodes = len(self.starts)
        lists = (self.starts, self.ends, self.leaves)
        require(nodes and all(one.shape == (nodes,) for one in lists), "nodes of another tree")
        require(self.bounds.shape == (2, nodes, columns), "bounds of another tree")
        require_within(self.order, len(self.rows), "rows of the tree")
        inner = np.flatnonzero(self.leaves == 0)
        require(not len(inner) or 2 * inner.max() + 2 < nodes, "a node of the tree lies outside")


def _squares(rows: Floats, others: Floats) -> Floats:
    """The squares of the distances of rows from others, added column after column, as scikit-learn does."""
    total = np.zeros(len(rows))
    for one, other in zip(rows.T, others.T, strict=True):
        gaps = other - one
        total += gaps * gaps
    return total


def _put(found: list[float], places: list[int], value: float, place: int) -> None:
    """Put a value in the place of the largest in a heap, in scikit-learn's own way."""
    at, size = 0, len(found)
    while (child := 2 * at + 1) < size:
        if child + 1 < size and found[child] < found[child + 1]:
            child += 1
        if found[child] <= value:
            break
        found[at], places[at] = found[child], places[child]
        at = child
    found[at], places[at] = value, place


def weights_of(distances: Floats) -> Floats:
    """The nearer, the more: 1 for rows that are the same, and nothing then for others."""
    with np.errstate(divide="ignore"):
        weights: Floats = 1.0 / distances
    same = np.isinf(weights)
    rows = same.any(axis=1)
    weights[rows] = same[rows]
    return weights


@dataclass(slots=True)
class NearClasses(Head):
    """The class that most neighbours have; `classes` has the number of each row's.

    `weighted` counts nearer ones more.
    """

    neighbours: Neighbours
    classes: Ints
    labels: Labels
    weighted: bool

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        places, distances = self.neighbours(rows)
        counts = np.zeros((len(places), len(self.labels)))
        weights = weights_of(distances) if self.weighted else np.ones_like(distances)
        row = np.arange(len(places))
        for at, classes in enumerate(self.classes.take(places).T):
            counts[row, classes] += weights[:, at]
        outputs: Outputs = {PREDICT: self.labels.take(counts.argmax(axis=1))}
        if probabilities:
            outputs[PROBA] = counts / counts.sum(axis=1, keepdims=True)
            require_finite(outputs[PROBA])
        return outputs

    def check(self, columns: int) -> None:
        self.neighbours.check(columns)
        require(self.classes.shape == (len(self.neighbours.rows),), "classes of other rows")
        require_within(self.classes, len(self.labels), "classes")


@dataclass(slots=True)
class NearValues(Head):
    """The mean of the neighbours' values; `weighted` counts nearer ones more."""

    neighbours: Neighbours
    values: Floats
    weighted: bool

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        places, distances = self.neighbours(rows)
        values = self.values.take(places)
        if self.weighted:
            weights = weights_of(distances)
            mean = (values * weights).sum(axis=1) / weights.sum(axis=1)
        else:
            mean = values.mean(axis=1)
        require_finite(mean)
        return {PREDICT: mean}

    def check(self, columns: int) -> None:
        self.neighbours.check(columns)
        require(self.values.shape == (len(self.neighbours.rows),), "values of other rows")


@dataclass(slots=True)
class LocalDensity(Step):
    """How dense it is at a row, beside its neighbours' places: -1 for the same, less for a lonely row.

    `reach` is how far each row's own neighbours lie, `density` how dense it is there.
    """

    neighbours: Neighbours
    reach: Floats
    density: Floats

    def __call__(self, table: Table) -> Table:
        places, distances = self.neighbours(table)
        reach = np.maximum(distances, self.reach.take(places))
        density = 1.0 / (reach.mean(axis=1) + SMALLEST_DENSITY)
        ratios: Floats = -(self.density.take(places) / density[:, np.newaxis]).mean(axis=1, keepdims=True)
        return ratios

    def width(self, columns: int) -> int:
        self.neighbours.check(columns)
        require(
            self.reach.shape == self.density.shape == self.neighbours.rows.shape[:1],
            "densities of other rows",
        )
        return 1

"""The head that scores rows with trees. Runs in the build and in a worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.checks import WIDEST
from model_endpoint.models.compiled.leaf_masks import LeafMasks, Nodes
from model_endpoint.models.compiled.tree_columns import TreeColumns
from model_endpoint.models.predictor import Rows, Scores

Leaves = NDArray[np.signedinteger[Any]]

# Up to this number of node tests, to test all nodes of a forest at once is faster than to follow its levels.
TEST_ALL_NODES = 20_000
# From this number of nodes on, tables find the leaves of small trees faster than tests do.
TABLES_FROM = 2_500
# How the trees' library takes numbers: as they are; in float32, and infinite ones not at all; or in float32.
DOUBLE, SINGLE_FINITE, SINGLE = range(3)
COLUMNS = "column_"
# From this number of rows, to follow one tree after another is faster than to follow all trees at once.
TREE_AFTER_TREE = 512
# What is held at a time: numbers of one kind, of 8 bytes each.
MOST_NUMBERS = 1 << 18
MOST_ROWS = 8192


class TreesHead:
    """Scores rows with the sum of one leaf's values from each tree, added in the order of the trees.

    All nodes of all trees are numbered in level order: the roots first, the two children of a node side by side. A
    node sends a row to `left + (row[feature] > threshold)`, and a row without a value there to the left, or to the
    right where `missing_right` says so; without `missing_right` no value may be missing. A leaf's threshold is
    infinite and its `left` is the leaf itself, so a row stays at its leaf. `values` have the shape (nodes, scores);
    where `base`, of shape (scores,), has more scores, each tree is for one of them, in turn. `base` is added first, in
    the precision of `values`. `depths`, of shape (trees,), are at least 1. `columns` has what nodes ask for besides
    the row's own columns.
    """

    def __init__(
        self,
        feature: NDArray[np.intp],
        threshold: NDArray[np.float64],
        left: NDArray[np.int32],
        values: Scores,
        base: Scores,
        depths: NDArray[np.intp],
        precision: int,
        missing_right: NDArray[np.bool_] | None = None,
        columns: TreeColumns | None = None,
    ) -> None:
        check_level_order(feature, threshold, left, values, depths)
        check_scores(len(depths), values, base)
        if missing_right is not None and (missing_right.shape != left.shape or missing_right.dtype != bool):
            raise ValueError("the sizes of the trees' arrays contradict each other")
        if columns is not None and feature.max() >= columns.width + len(columns.source):
            raise ValueError("a node of a tree asks for a column that lies outside")
        self._nodes, self._ends = nodes_by_tree(left, depths)
        self._feature, self._threshold, self._left = feature, threshold, left
        self._values, self._base, self._depths = values, base, depths
        self._missing_right, self._columns = missing_right, columns
        self._trees = len(depths)
        self._deepest_first = np.argsort(-depths, kind="stable")
        # How many trees are deeper than 0, than 1, and so on.
        levels = np.arange(depths.max())
        self._deeper = (len(depths) - np.sort(depths).searchsorted(levels, side="right")).tolist()
        self.precision = int(precision)
        self._add_base = bool(base.any())
        self._in_turn = len(base) // values.shape[1]
        self._masks = None
        if len(left) >= TABLES_FROM or columns is not None:
            self._masks = LeafMasks.of(Nodes(feature, threshold, left, missing_right, len(depths)), columns)
        if self._masks:
            self._values_of_masks = values.take(self._masks.leaves, axis=0)

    def __call__(self, rows: Rows) -> Scores:
        scores = self._values.shape[1]
        if len(rows) < TREE_AFTER_TREE:
            return in_parts(rows, max(1, MOST_NUMBERS // (self._trees * scores)), self._all_trees)
        size = min(MOST_ROWS, max(TREE_AFTER_TREE, 4 * MOST_NUMBERS // max(rows.shape[1], scores)))
        return in_parts(rows, size, self._tree_after_tree)

    def _all_trees(self, rows: Rows) -> Scores:
        """Score rows by the leaves of all trees at once."""
        rows, complete = self._narrow(rows)
        if self._masks:
            places = (
                self._masks.of_one(rows[0])[:, np.newaxis] if len(rows) == 1 else self._masks.of_many(rows)
            )
            return self._sum(self._values_of_masks.take(places, axis=0))
        rows, feature = self._derived(rows, complete)
        if len(rows) == 1:
            return self._sum(self._values.take(self._leaves_of_one(rows[0], feature), axis=0))
        if len(rows) * len(self._left) <= TEST_ALL_NODES:
            leaves = [self._leaves_of_one(row, feature) for row in rows]
            return np.concatenate([self._sum(self._values.take(one, axis=0)) for one in leaves])
        return self._sum(self._values.take(self._leaves_of_many(rows, feature), axis=0))

    def _derived(self, rows: Rows, complete: bool) -> tuple[Rows, NDArray[np.intp]]:
        """The rows with the columns that nodes ask for besides, and the column that each node asks for."""
        if self._columns is not None:
            rows, complete = self._columns(rows), False
        if complete or self._missing_right is None:
            return rows, self._feature
        right = np.where(np.isnan(rows), np.inf, rows)
        return np.concatenate([rows, right], axis=1), self._feature + rows.shape[1] * self._missing_right

    def _narrow(self, rows: Rows) -> tuple[Rows, bool]:
        """The rows as the library takes numbers, and whether they are known to miss no value.

        Raises ValueError for a number that is too large.
        """
        if self.precision == DOUBLE:
            return rows, self._missing_right is not None and not math.isnan(rows.sum())
        narrow = rows.astype(np.float32)
        complete = math.isfinite(narrow.sum())
        if not complete and self.precision == SINGLE_FINITE:
            taken = np.isfinite(narrow) if self._missing_right is None else ~np.isinf(narrow)
            if not taken.all():
                raise ValueError("a value is too large for float32, in which this model's trees compare")
        return narrow.astype(np.float64), complete

    def _leaves_of_one(self, row: NDArray[np.float64], feature: NDArray[np.intp]) -> Leaves:
        successor = self._left + (row.take(feature) > self._threshold)
        node = successor[: self._trees]
        for _ in self._deeper[1:]:
            node = successor.take(node)
        return node[:, np.newaxis]

    def _leaves_of_many(self, rows: Rows, feature: NDArray[np.intp]) -> Leaves:
        count, width = rows.shape
        offset = np.tile(np.arange(0, count * width, width), self._trees)
        flat = rows.ravel()
        node = np.repeat(self._deepest_first, count)
        for deeper in self._deeper:  # the number of trees that have nodes on the next level
            part = slice(deeper * count)
            at = node[part]
            value = flat.take(feature.take(at) + offset[part])
            node[part] = self._left.take(at) + (value > self._threshold.take(at))
        leaves = np.empty((self._trees, count), dtype=np.intp)
        leaves[self._deepest_first] = node.reshape(self._trees, count)
        return leaves

    def _sum(self, values: Scores) -> Scores:
        """The sums over the trees of their leaves' values, of shape (trees, rows, scores of a tree)."""
        if self._in_turn > 1:
            values = values.reshape(-1, self._in_turn, values.shape[1]).swapaxes(1, 2)
        if self._add_base:
            values[0] += self._base
        if values[0].size > 1:  # numpy adds tree after tree, as scikit-learn does
            total: Scores = np.add.reduce(values, axis=0)
        else:  # np.add.reduce would add a single column pairwise
            total = np.add.accumulate(values, axis=0)[-1]
        return total

    def _tree_after_tree(self, rows: Rows) -> Scores:
        """Score rows one tree at a time, whose few nodes and one column of numbers stay in the processor's cache."""
        rows, feature = self._derived(*self._narrow(rows))
        count = len(rows)
        columns = rows.T.ravel()
        row = np.arange(count)
        total = np.zeros((count, len(self._base)), dtype=self._values.dtype) + self._base
        width = self._values.shape[1]
        start = 0
        for tree, (end, depth) in enumerate(zip(self._ends, self._depths.tolist(), strict=True)):
            nodes = self._nodes[start:end]
            start = end
            left = np.searchsorted(nodes, self._left[nodes])
            column = feature[nodes] * count
            threshold = self._threshold[nodes]
            at = left[0] + (columns[column[0] : column[0] + count] > threshold[0])
            for _ in range(depth - 1):
                place = column.take(at)
                place += row
                above = columns.take(place) > threshold.take(at)
                at = left.take(at)
                at += above
            first = tree % self._in_turn * width
            total[:, first : first + width] += self._values[nodes].take(at, axis=0)
        return total

    @property
    def scores(self) -> int:
        """How many scores a row gets."""
        return len(self._base)

    def splits(self) -> list[tuple[int, float]]:
        """The row's column and the threshold of each node."""
        source = Nodes(self._feature, self._threshold, self._left, None, self._trees).source(self._columns)
        inner = np.isfinite(self._threshold)
        return list(zip(source[inner].tolist(), self._threshold[inner].tolist(), strict=True))

    def check(self, columns: int) -> None:
        """Raise ValueError if a node asks for a column that does not exist."""
        if self._columns is None and self._feature.max() >= columns:
            raise ValueError("a node of a tree asks for a column that lies outside")
        if self._columns is not None and self._columns.width != columns:
            raise ValueError(f"the trees take {self._columns.width} columns, not {columns}")

    def arrays(self) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {
            "feature": self._feature,
            "threshold": self._threshold,
            "left": self._left,
            "values": self._values,
            "base": self._base,
            "depths": self._depths,
            "precision": np.array(self.precision),
        }
        if self._missing_right is not None:
            found["missing_right"] = self._missing_right
        if self._columns is not None:
            found |= {COLUMNS + name: array for name, array in self._columns.arrays().items()}
        return found

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> TreesHead:
        """The head that has these `arrays`. Raises ValueError, TypeError or KeyError for what can't be one's."""
        own: dict[str, Any] = {name: array for name, array in arrays.items() if not name.startswith(COLUMNS)}
        derived: dict[str, Any] = {
            name.removeprefix(COLUMNS): array for name, array in arrays.items() if name.startswith(COLUMNS)
        }
        return cls(**own, columns=TreeColumns(**derived) if derived else None)


def in_parts(rows: Rows, size: int, score: Callable[[Rows], Scores]) -> Scores:
    """The scores of `rows`, of which at most `size` are scored at a time."""
    if len(rows) <= size:
        return score(rows)
    return np.concatenate([score(rows[start : start + size]) for start in range(0, len(rows), size)])


def nodes_by_tree(left: NDArray[np.int32], depths: NDArray[np.intp]) -> tuple[NDArray[np.int32], list[int]]:
    """The nodes of the first tree, then those of the second, and so on, each in level order, and where each ends.

    Raises ValueError where a node belongs to two trees, or to none, or a tree has not the depth that `depths` says.
    """
    trees = len(depths)
    owner = np.full(len(left), -1, dtype=np.int32)
    level = np.arange(trees, dtype=np.int32)
    owner[level] = level
    reached = trees
    found = np.zeros(trees, dtype=np.intp)
    while len(level):
        found[owner[level]] += 1
        inner = level[left[level] != level]
        level = np.concatenate((left[inner], left[inner] + 1))
        reached += len(level)
        owner[level] = np.tile(owner[inner], 2)
        if reached > len(left):
            break
    if reached != len(left) or owner.min() < 0:
        raise ValueError("a node belongs to two trees, or to none")
    if not np.array_equal(np.maximum(found - 1, 1), depths):
        raise ValueError("a tree has another depth than the file says")
    return np.argsort(owner, kind="stable").astype(np.int32), np.bincount(owner).cumsum().tolist()


def check_level_order(
    feature: NDArray[np.intp],
    threshold: NDArray[np.float64],
    left: NDArray[np.int32],
    values: Scores,
    depths: NDArray[np.intp],
) -> None:
    """Raise ValueError unless every node leads to nodes further on, or is a leaf, so that every row reaches a leaf."""
    count = len(left)
    if (
        any(array.ndim != 1 or array.dtype.kind != "i" for array in (feature, left, depths))
        or values.ndim != 2
    ):
        raise ValueError("the trees' arrays contradict each other: some are no lists of whole numbers")
    if not (
        len(feature) == len(threshold) == len(values) == count
        and threshold.shape == (count,)
        and threshold.dtype == np.float64
        and 0 < len(depths) <= count
    ):
        raise ValueError("the sizes of the trees' arrays contradict each other")
    here = np.arange(count)
    leaf = (left == here) & (threshold == np.inf)
    outside = (feature < 0) | (feature >= WIDEST)  # a tighter bound is for who knows the columns
    if not (leaf | ((left > here) & (left < count - 1))).all() or outside.any():
        raise ValueError("a node of a tree lies outside the trees, or asks for a column that does")
    if depths.min() < 1 or depths.max() > count:
        raise ValueError(f"a tree is deeper than its {count} nodes")


def check_scores(trees: int, values: Scores, base: Scores) -> None:
    """Raise ValueError unless leaves with these values and this base add up to finite scores."""
    numbers = all(array.dtype in (np.float32, np.float64) for array in (values, base))
    if not (numbers and base.ndim == 1 and values.shape[1] and len(base) % values.shape[1] == 0 < len(base)):
        raise ValueError("the sizes of the trees' arrays contradict each other")
    if trees * values.shape[1] % len(base) or not (np.isfinite(values).all() and np.isfinite(base).all()):
        raise ValueError("the values of the trees' leaves contradict each other, or are not finite")

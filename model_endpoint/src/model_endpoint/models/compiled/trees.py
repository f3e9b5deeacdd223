"""The head that scores rows with trees. Runs in the build and in a worker."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.predictor import Rows, Scores

Nodes = NDArray[np.signedinteger[Any]]

# Up to this number of node tests, to test all nodes of a forest at once is faster than to follow its levels.
TEST_ALL_NODES = 20_000
# From this number of rows, to follow one tree after another is faster than to follow all trees at once.
TREE_AFTER_TREE = 512
# What is held at a time: numbers of one kind, of 8 bytes each.
MOST_NUMBERS = 1 << 18
MOST_ROWS = 8192


class TreesHead:
    """Scores rows with the sum of one leaf's values from each tree, added in the order of the trees.

    All nodes of all trees are numbered in level order: the roots first, the two children of a node side by side. A
    node sends a row to `left + (row[feature] > threshold)`. A leaf's threshold is infinite and its `left` is the leaf
    itself, so a row stays at its leaf. `values` have the shape (nodes, scores); `base`, of shape (scores,), is added
    first; `depths`, of shape (trees,), are at least 1.
    """

    def __init__(
        self,
        feature: NDArray[np.intp],
        threshold: NDArray[np.float64],
        left: NDArray[np.int32],
        values: NDArray[np.float64],
        base: NDArray[np.float64],
        depths: NDArray[np.intp],
        single_precision: bool,
    ) -> None:
        check_level_order(feature, threshold, left, values, depths)
        self._nodes, self._ends = nodes_by_tree(left, len(depths))
        self._feature = feature
        self._threshold = threshold
        self._left = left
        self._values = values
        self._base = base
        self._depths = depths
        self._trees = len(depths)
        self._deepest_first = np.argsort(-depths, kind="stable")
        # How many trees are deeper than 0, than 1, and so on.
        self._deeper = [int((depths > level).sum()) for level in range(int(depths.max()))]
        self._single_precision = bool(single_precision)
        self._add_base = bool(base.any())

    def __call__(self, rows: Rows) -> Scores:
        if self._single_precision:
            narrow = rows.astype(np.float32)
            if not (math.isfinite(narrow.sum()) or np.isfinite(narrow).all()):
                raise ValueError("a value is too large for float32, in which this model's trees compare")
            rows = narrow.astype(np.float64)
        if len(rows) == 1:
            return self._sum(self._leaves_of_one(rows[0]))
        if len(rows) * len(self._left) <= TEST_ALL_NODES:
            return np.concatenate([self._sum(self._leaves_of_one(row)) for row in rows])
        scores = self._values.shape[1]
        if len(rows) < TREE_AFTER_TREE:
            size = max(1, MOST_NUMBERS // (self._trees * scores))
            return in_parts(rows, size, lambda part: self._sum(self._leaves_of_many(part)))
        size = min(MOST_ROWS, max(TREE_AFTER_TREE, 4 * MOST_NUMBERS // max(rows.shape[1], scores)))
        return in_parts(rows, size, self._tree_after_tree)

    def _leaves_of_one(self, row: NDArray[np.float64]) -> Nodes:
        successor = self._left + (row.take(self._feature) > self._threshold)
        node = successor[: self._trees]
        for _ in self._deeper[1:]:
            node = successor.take(node)
        return node[:, np.newaxis]

    def _leaves_of_many(self, rows: Rows) -> Nodes:
        count, width = rows.shape
        offset = np.tile(np.arange(0, count * width, width), self._trees)
        flat = rows.ravel()
        node = np.repeat(self._deepest_first, count)
        for deeper in self._deeper:  # the number of trees that have nodes on the next level
            part = slice(deeper * count)
            at = node[part]
            value = flat.take(self._feature.take(at) + offset[part])
            node[part] = self._left.take(at) + (value > self._threshold.take(at))
        leaves = np.empty((self._trees, count), dtype=np.intp)
        leaves[self._deepest_first] = node.reshape(self._trees, count)
        return leaves

    def _sum(self, leaves: Nodes) -> Scores:
        values: Scores = self._values.take(leaves, axis=0)
        if self._add_base:
            values[0] += self._base
        if values[0].size > 1:  # numpy adds tree after tree, as scikit-learn does
            total: Scores = np.add.reduce(values, axis=0)
        else:  # np.add.reduce would add a single column pairwise
            total = np.add.accumulate(values, axis=0)[-1]
        return total

    def _tree_after_tree(self, rows: Rows) -> Scores:
        """Score rows one tree at a time, whose few nodes and one column of numbers stay in the processor's cache."""
        count = len(rows)
        columns = rows.T.ravel()
        row = np.arange(count)
        total = np.zeros((count, self._values.shape[1])) + self._base
        start = 0
        for end, depth in zip(self._ends, self._depths.tolist(), strict=True):
            nodes = self._nodes[start:end]
            start = end
            left = np.searchsorted(nodes, self._left[nodes])
            column = self._feature[nodes] * count
            threshold = self._threshold[nodes]
            at = left[0] + (columns[column[0] : column[0] + count] > threshold[0])
            for _ in range(depth - 1):
                place = column.take(at)
                place += row
                above = columns.take(place) > threshold.take(at)
                at = left.take(at)
                at += above
            total += self._values[nodes].take(at, axis=0)
        return total

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "feature": self._feature,
            "threshold": self._threshold,
            "left": self._left,
            "values": self._values,
            "base": self._base,
            "depths": self._depths,
            "single_precision": np.array(self._single_precision),
        }


def in_parts(rows: Rows, size: int, score: Callable[[Rows], Scores]) -> Scores:
    """The scores of `rows`, of which at most `size` are scored at a time."""
    if len(rows) <= size:
        return score(rows)
    return np.concatenate([score(rows[start : start + size]) for start in range(0, len(rows), size)])


def nodes_by_tree(left: NDArray[np.int32], trees: int) -> tuple[NDArray[np.int32], list[int]]:
    """The nodes of the first tree, then those of the second, and so on, each in level order, and where each ends.

    Raises ValueError where a node belongs to two trees, or to none.
    """
    owner = np.full(len(left), -1, dtype=np.int32)
    level = np.arange(trees, dtype=np.int32)
    owner[level] = level
    reached = trees
    while len(level):
        inner = level[left[level] != level]
        level = np.concatenate((left[inner], left[inner] + 1))
        reached += len(level)
        owner[level] = np.tile(owner[inner], 2)
        if reached > len(left):
            break
    if reached != len(left) or owner.min() < 0:
        raise ValueError("a node belongs to two trees, or to none")
    return np.argsort(owner, kind="stable").astype(np.int32), np.bincount(owner).cumsum().tolist()


def check_level_order(
    feature: NDArray[np.intp],
    threshold: NDArray[np.float64],
    left: NDArray[np.int32],
    values: NDArray[np.float64],
    depths: NDArray[np.intp],
) -> None:
    """Raise ValueError unless every node leads to nodes further on, or is a leaf, so that every row reaches a leaf."""
    count = len(left)
    if not (len(feature) == len(threshold) == len(values) == count and 0 < len(depths) <= count):
        raise ValueError("the sizes of the trees' arrays contradict each other")
    here = np.arange(count)
    leaf = (left == here) & (threshold == np.inf)
    if not (leaf | ((left > here) & (left < count - 1))).all() or (feature < 0).any():
        raise ValueError("a node of a tree lies outside the trees, or asks for a column that does")
    if depths.min() < 1 or depths.max() > count:
        raise ValueError(f"a tree is deeper than its {count} nodes")

"""The head that scores rows with trees. Runs in the build and in a worker."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.predictor import Rows, Scores

Nodes = NDArray[np.signedinteger[Any]]

# Up to this number of node tests, to test all nodes of a forest at once is faster than to follow its levels.
TEST_ALL_NODES = 20_000


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
        return self._sum(self._leaves_of_many(rows))

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

    def check(self, columns: int) -> None:
        """Raise ValueError if a node asks for a column that does not exist."""
        if self._feature.max() >= columns:
            raise ValueError("a node of a tree asks for a column that lies outside")

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

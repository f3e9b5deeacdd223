"""Number the nodes of trees as compiled models need them. Runs where models are packed and in the image's build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.tree_columns import TreeColumns
from model_endpoint.models.compiled.trees import TreesHead
from model_endpoint.models.predictor import Scores

LARGEST = float(np.finfo(np.float64).max)
"""Stands for an infinite threshold, above which are only missing values that go right."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree in its own numbering; `left` is below 0 for a leaf, `values` have the shape (nodes, scores).

    A row goes right if its value is above the threshold, and one without a value where `missing_right` says so.
    """

    left: NDArray[np.signedinteger[Any]]
    right: NDArray[np.signedinteger[Any]]
    feature: NDArray[np.signedinteger[Any]]
    threshold: NDArray[np.floating[Any]]
    values: Scores
    missing_right: NDArray[np.bool_] | None = None


def pack(
    trees: Sequence[Tree], base: Scores, *, precision: int, columns: TreeColumns | None = None
) -> TreesHead:
    """Number all nodes of all trees in level order, as TreesHead needs them."""
    order = [(tree, 0, index, 0) for index, tree in enumerate(trees)]
    feature: list[int] = []
    threshold: list[float] = []
    left: list[int] = []
    values: list[Scores] = []
    missing: list[bool] = []
    depths = np.ones(len(trees), dtype=np.intp)
    for tree, node, index, level in order:  # grows in the loop: children are added at its end
        values.append(tree.values[node])
        inner = tree.left[node] >= 0
        missing.append(inner and tree.missing_right is not None and bool(tree.missing_right[node]))
        if not inner:
            feature.append(0)
            threshold.append(np.inf)
            left.append(len(left))
        else:
            feature.append(int(tree.feature[node]))
            threshold.append(min(float(tree.threshold[node]), LARGEST))
            left.append(len(order))
            order += [(tree, int(child[node]), index, level + 1) for child in (tree.left, tree.right)]
            depths[index] = max(depths[index], level + 1)
    takes_missing = columns is not None or trees[0].missing_right is not None
    return TreesHead(
        np.array(feature, dtype=np.intp),
        np.array(threshold),
        np.array(left, dtype=np.int32),
        np.array(values),
        np.asarray(base, dtype=values[0].dtype),
        depths,
        precision,
        np.array(missing) if takes_missing else None,
        columns,
    )


class ColumnsBuilder:
    """Gathers the columns that nodes ask for besides the row's own `width`, each once."""

    def __init__(self, width: int, lowest: float = -1.0) -> None:
        self._width = width
        self._lowest = lowest
        self._found: dict[tuple[int, int, bytes], int] = {}
        self._sets: list[tuple[NDArray[np.bool_], bool, bool]] = []
        self._members: list[int] = []
        self._coded: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def derived(self, source: int, kind: int) -> int:
        """The number of the column that is made of `source` in the way of `kind`."""
        return self._number((source, kind, b""), 0)

    def in_set(self, source: int, kind: int, right: NDArray[np.bool_], other: bool, missing: bool) -> int:
        """The number of the column that says whether a category goes right: by its code, any other, or missing."""
        key = (source, kind, np.packbits(right).tobytes() + bytes([len(right) % 8, other, missing]))
        if key not in self._found:
            self._sets.append((right, other, missing))
        return self._number(key, len(self._sets) - 1)

    def coded(self, column: int, known: NDArray[np.float64], codes: NDArray[np.float64]) -> None:
        """Have the values of a column replaced by their codes first."""
        order = np.argsort(known)
        self._coded[column] = (known[order], codes[order])

    def _number(self, key: tuple[int, int, bytes], member: int) -> int:
        if key not in self._found:
            self._found[key] = len(self._found)
            self._members.append(member)
        return self._width + self._found[key]

    def build(self) -> TreeColumns | None:
        """The columns; None where nodes ask for the row's own alone."""
        if not self._found and not self._coded:
            return None
        longest = max((len(right) for right, _, _ in self._sets), default=0)
        sets = np.zeros((len(self._sets), longest + 2), dtype=bool)
        for at, (right, other, missing) in enumerate(self._sets):
            sets[at, : len(right)] = right
            sets[at, len(right) : -1] = other
            sets[at, -1] = missing
        most = max((len(known) for known, _ in self._coded.values()), default=1)
        known = np.full((len(self._coded), most), np.inf)
        codes = np.full((len(self._coded), most), np.nan)
        for at, (values, theirs) in enumerate(self._coded.values()):
            known[at, : len(values)], codes[at, : len(values)] = values, theirs
        keys = list(self._found)
        return TreeColumns(
            np.array(self._width),
            np.array([source for source, _, _ in keys], dtype=np.intp),
            np.array([kind for _, kind, _ in keys], dtype=np.intp),
            np.array(self._members, dtype=np.intp),
            sets,
            np.array(self._lowest),
            np.array(list(self._coded), dtype=np.intp),
            known,
            codes,
        )


def boosted_link(columns: int, classes: list[NDArray[Any]]) -> str:
    """What the scores of scikit-learn's boosted trees mean."""
    if not classes:
        return "value"
    return "logistic" if columns == 1 else "softmax"

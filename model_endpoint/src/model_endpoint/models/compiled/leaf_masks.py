"""Find the leaves of small trees by tables instead of following their nodes. Runs in the build and in a worker.

Each leaf of a tree is a bit of a word. The thresholds of all nodes that ask for a column cut its values into ranges;
for each range a table has, for each tree, the leaves that a value there leaves possible. The words of a row's columns,
joined by `and`, have the bit of one leaf in each tree. This costs the same for any depth.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.tree_columns import TreeColumns
from model_endpoint.models.predictor import Rows

MOST_LEAVES = 64
MOST_BYTES = 1 << 26
MOST_STEPS = 200_000_000  # of making the tables, each about a nanosecond
MOST_WORDS = 1 << 17  # that one row takes
ROWS_AT_ONCE = 64
WORDS: dict[type, tuple[Any, Any, int, int]] = {
    np.uint32: (np.float32, np.int32, 23, 127),
    np.uint64: (np.float64, np.int64, 52, 1023),
}
"""For each type of a word, a float and an integer of its size, and the place and the bias of the float's exponent."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of trees as `model_endpoint.models.compiled.trees` numbers them; `missing_right` may be None."""

    feature: NDArray[np.intp]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    missing_right: NDArray[np.bool_] | None
    trees: int

    def source(self, columns: TreeColumns | None) -> NDArray[np.intp]:
        """The row's column that each node's value comes from."""
        if columns is None:
            return self.feature
        origin = np.concatenate([np.arange(columns.width), columns.source])
        return np.asarray(origin.take(self.feature))


class LeafMasks:
    """Finds the leaf of each tree; `leaves` are the numbers of all leaves' nodes, by tree and bit."""

    def __init__(self, nodes: Nodes, columns: TreeColumns | None, shape: _Shape) -> None:
        self._table, self._breaks, self._starts, self._used = shape.tables(nodes, columns)
        self.leaves = shape.leaves
        self._full = shape.full
        self._float, self._integer, self._shift, bias = WORDS[self._full.dtype.type]
        # A word with one bit, as a float, has the number of the bit in its exponent.
        self._offset = np.arange(nodes.trees, dtype=np.intp) * (shape.leaves.size // nodes.trees) - bias
        self._places = list(zip(self._used, self._breaks_as_lists(), self._starts, strict=True))

    def _breaks_as_lists(self) -> list[list[float]]:
        return [breaks.tolist() for breaks in self._breaks]

    @classmethod
    def of(cls, nodes: Nodes, columns: TreeColumns | None) -> LeafMasks | None:
        """The tables of these trees, or None where they would be too large.

        Raises ValueError if two nodes lead to the same one.
        """
        shape = _Shape.of(nodes)
        return cls(nodes, columns, shape) if shape and shape.small(nodes, columns) else None

    def of_one(self, row: NDArray[np.float64]) -> NDArray[np.intp]:
        """The place in `leaves` of each tree's leaf, of shape (trees,)."""
        values = row.tolist()
        at = [
            start + (bisect_left(breaks, value) if (value := values[column]) == value else len(breaks) + 1)
            for column, breaks, start in self._places
        ]
        if not at:
            return self._bits(self._full)
        return self._bits(np.bitwise_and.reduce(self._table.take(at, axis=0), axis=0))

    def of_many(self, rows: Rows) -> NDArray[np.intp]:
        """The places in `leaves`, of shape (trees, rows)."""
        places = np.empty((len(self._offset), len(rows)), dtype=np.intp)
        for begin in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[begin : begin + ROWS_AT_ONCE]
            words = np.tile(self._full, (len(part), 1))
            for column, breaks, start in zip(self._used, self._breaks, self._starts, strict=True):
                values = part[:, column]
                at = breaks.searchsorted(values)
                at[np.isnan(values)] = len(breaks) + 1
                words &= self._table.take(at + start, axis=0)
            places[:, begin : begin + ROWS_AT_ONCE] = self._bits(words).T
        return places

    def _bits(self, words: NDArray[Any]) -> NDArray[np.intp]:
        place: NDArray[np.intp] = (
            words.astype(self._float).view(self._integer) >> self._shift
        ) + self._offset
        return place


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the trees look like: the tree of each node, the leaves below it as a word, and each tree's word of all."""

    tree: NDArray[np.intp]
    below: NDArray[Any]
    full: NDArray[Any]
    leaves: NDArray[np.intp]

    @classmethod
    def of(cls, nodes: Nodes) -> _Shape | None:
        """None for trees with more leaves than a word has bits. Raises ValueError if two nodes lead to the same one."""
        count = len(nodes.left)
        leaf = nodes.left == np.arange(count)
        if leaf.sum() > nodes.trees * MOST_LEAVES:
            return None
        tree = np.full(count, -1, dtype=np.intp)
        level, levels = np.arange(nodes.trees), []
        tree[level] = level
        while len(level):
            levels.append(level)
            inner = level[~leaf[level]]
            left = nodes.left[inner].astype(np.intp)
            level = np.concatenate([left, left + 1])
            if (tree[level] >= 0).any() or len(np.unique(left)) < len(left):
                raise ValueError("two nodes of the trees lead to the same one")
            if len(levels) > MOST_LEAVES:
                return None
            tree[level] = np.tile(tree[inner], 2)
        held = np.bincount(tree[leaf & (tree >= 0)], minlength=nodes.trees)
        if (tree < 0).any() or held.max() > MOST_LEAVES:
            return None
        return cls._with_words(nodes, leaf, tree, levels, np.uint32 if held.max() <= 32 else np.uint64)

    @classmethod
    def _with_words(
        cls,
        nodes: Nodes,
        leaf: NDArray[np.bool_],
        tree: NDArray[np.intp],
        levels: list[NDArray[np.intp]],
        word: type[np.unsignedinteger[Any]],
    ) -> _Shape:
        at = np.flatnonzero(leaf)
        at = at[np.argsort(tree[at], kind="stable")]
        counts = np.bincount(tree[at], minlength=nodes.trees)
        bit = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
        below = np.zeros(len(leaf), dtype=word)
        below[at] = np.left_shift(word(1), bit.astype(word))
        for level in reversed(levels):
            inner = level[~leaf[level]]
            below[inner] = below[nodes.left[inner]] | below[nodes.left[inner] + 1]
        leaves = np.zeros((nodes.trees, np.dtype(word).itemsize * 8), dtype=np.intp)
        leaves[tree[at], bit] = at
        return cls(tree, below, below[: nodes.trees].copy(), leaves.ravel())

    def small(self, nodes: Nodes, columns: TreeColumns | None) -> bool:
        """Whether tables are worth their memory and the time to make them, from what can be at most."""
        inner = np.flatnonzero(nodes.left != np.arange(len(nodes.left)))
        asked = np.bincount(nodes.source(columns)[inner]) if len(inner) else np.zeros(1, dtype=np.intp)
        extra = 4 if columns is None else 4 + columns.most_breaks
        ranges = asked[asked > 0] + extra
        words = int(ranges.sum()) * nodes.trees
        return (
            len(ranges) * nodes.trees <= MOST_WORDS
            and words * self.full.dtype.itemsize <= MOST_BYTES
            and int((ranges * asked[asked > 0]).sum()) <= MOST_STEPS
        )

    def tables(
        self, nodes: Nodes, columns: TreeColumns | None
    ) -> tuple[NDArray[Any], list[NDArray[np.float64]], list[int], list[int]]:
        """The words of all ranges of all columns, and for each column in use its breaks, first word and number."""
        inner = np.flatnonzero(nodes.left != np.arange(len(nodes.left)))
        source = nodes.source(columns)[inner]
        parts: list[NDArray[Any]] = []
        all_breaks, starts, used = [], [], np.unique(source).tolist()
        start = 0
        for column in used:
            mine = inner[source == column]
            breaks, answers = _answers(nodes, columns, column, mine)
            words = np.repeat(self.full[:, np.newaxis], len(breaks) + 2, axis=1)
            for node, right in zip(mine.tolist(), answers, strict=True):
                left = int(nodes.left[node])
                words[self.tree[node]] &= np.where(right, ~self.below[left], ~self.below[left + 1])
            parts.append(words.T)
            all_breaks.append(breaks)
            starts.append(start)
            start += len(breaks) + 2
        table = np.ascontiguousarray(np.concatenate(parts)) if parts else self.full[np.newaxis]
        return table, all_breaks, starts, used


def _answers(
    nodes: Nodes, columns: TreeColumns | None, column: int, mine: NDArray[np.intp]
) -> tuple[NDArray[np.float64], list[NDArray[np.bool_]]]:
    """The breaks of one of the row's columns, and of each node that asks for it whether each range goes right.

    The last two ranges are that above all breaks, and a missing value.
    """
    asked = nodes.feature[mine]
    thresholds = {int(one): nodes.threshold[mine[asked == one]] for one in np.unique(asked)}
    breaks = np.unique(nodes.threshold[mine]) if columns is None else columns.breaks(column, thresholds)
    values = np.concatenate([breaks, [np.inf, np.nan]])
    if columns is not None:
        values = columns.code(column, values)
    seen = {
        one: values if columns is None or one < columns.width else columns.derive(one - columns.width, values)
        for one in thresholds
    }
    answers = []
    for node, one in zip(mine.tolist(), asked.tolist(), strict=True):
        right = seen[one] > nodes.threshold[node]
        if nodes.missing_right is not None and nodes.missing_right[node]:
            right |= np.isnan(seen[one])
        answers.append(right)
    return breaks, answers

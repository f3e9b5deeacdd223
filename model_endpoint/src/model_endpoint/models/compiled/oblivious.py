"""CatBoost's trees, all nodes of a level of which ask the same question. Runs in the build and in a worker."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from model_endpoint.models.compiled.checks import require, require_within
from model_endpoint.models.compiled.meta import PREDICT
from model_endpoint.models.compiled.nodes import Answering, Head, Step
from model_endpoint.models.compiled.tables import Floats, Ints, Table, dense
from model_endpoint.models.predictor import Outputs

BYTE = 8
DEEPEST = 2 * BYTE
MOST_QUESTIONS = 1 << 18  # that are asked at a time


@dataclass(slots=True)
class Oblivious(Step):
    """The sum of one leaf's values from each tree, times `scale`, and `bias`.

    Question number q of tree t is whether column `feature[t, q]` is above `border[t, q]`, in float32, and adds 2**q to
    the number of the leaf. `values` have the shape (trees, leaves, scores). A missing value is above all borders in the
    columns `high`, and below in any other.
    """

    feature: Ints
    border: Floats
    values: Floats
    scale: float
    bias: Floats
    high: Ints
    _asked: Ints = field(init=False)
    _above: Floats = field(init=False)
    _leaves: Floats = field(init=False)
    _starts: Ints = field(init=False)

    def __post_init__(self) -> None:
        require(
            self.feature.ndim == self.border.ndim == 2 and self.values.ndim == 3, "trees of another shape"
        )
        # Filled up to whole bytes with questions whose answer is no.
        more = ((0, 0), (0, -self.feature.shape[1] % BYTE))
        self._asked = np.pad(self.feature, more)
        self._above = np.pad(self.border, more, constant_values=np.inf)
        trees, leaves, scores = self.values.shape
        self._leaves = self.values.reshape((trees * leaves, scores) if scores > 1 else -1)
        self._starts = np.arange(0, trees * leaves, leaves)

    def __call__(self, table: Table) -> Table:
        with np.errstate(over="ignore"):
            narrow = dense(table).astype(np.float32).astype(np.float64)
        gaps = np.isnan(narrow)
        if gaps.any():
            missing = np.full(narrow.shape[1], -np.inf)
            missing[self.high] = np.inf
            narrow = np.where(gaps, missing, narrow)
        size = max(1, MOST_QUESTIONS // self._asked.size)
        parts = [self._sums(narrow[start : start + size]) for start in range(0, len(narrow), size)]
        sums = parts[0] if len(parts) == 1 else np.concatenate(parts)
        result: Floats = sums * self.scale + self.bias
        return result

    def _sums(self, rows: Floats) -> Floats:
        above = rows.take(self._asked, axis=1) > self._above
        # One byte after another, since numpy is slow with many short axes.
        places = np.packbits(above.reshape(-1), bitorder="little").reshape(len(rows), len(self.feature), -1)
        leaf = places[..., 0] + self._starts
        if places.shape[2] > 1:
            leaf += places[..., 1].astype(np.int64) << BYTE
        sums: Floats = self._leaves.take(leaf, axis=0).sum(axis=1).reshape(len(rows), -1)
        return sums

    def width(self, columns: int) -> int:
        require(self.feature.shape == self.border.shape, "borders of other questions")
        trees, depth = self.feature.shape
        require(trees and 1 <= depth <= DEEPEST, f"trees of {depth} questions")
        require(
            self.values.shape[:2] == (trees, 1 << depth) and self.values.shape[2], "leaves of other trees"
        )
        require(self.bias.shape == self.values.shape[2:], "scores that start from others")
        require_within(self.feature, columns, "columns of questions")
        require_within(self.high, columns, "columns of missing values")
        return int(self.values.shape[2])


@dataclass(slots=True)
class InColumn(Head):
    """A model whose labels are a column, as CatBoost has them for more than two classes."""

    head: Answering

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        outputs = self.head(rows, probabilities, more)
        return outputs | {PREDICT: outputs[PREDICT].reshape(-1, 1)}

    def check(self, columns: int) -> None:
        self.head.check(columns)

"""Heads that tell rows that are like those of training from others. Runs in the build and in a worker."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from model_endpoint.models.compiled.checks import require
from model_endpoint.models.compiled.columns import Chain
from model_endpoint.models.compiled.meta import DECISION, PREDICT, asked
from model_endpoint.models.compiled.nodes import Answering, Head, Step
from model_endpoint.models.compiled.tables import Floats, Table, dense
from model_endpoint.models.predictor import Outputs, require_finite

SCORES = "score_samples"


@dataclass(slots=True)
class Inliers(Head):
    """1 for a row that is like those of training, -1 for any other: its score is not below `offset`.

    With `above`, it has to be above it.
    """

    steps: list[Step]
    offset: float
    above: bool

    @property
    def further(self) -> frozenset[str]:
        return frozenset({DECISION, SCORES})

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        scores = dense(Chain(self.steps)(rows))[:, 0]
        decision = scores - self.offset
        inside = decision > 0 if self.above else ~(decision < 0)
        found = {DECISION: decision, SCORES: scores}
        outputs: Outputs = {PREDICT: np.where(inside, 1, -1)}
        for name in more:
            require_finite(found[name])
            outputs[name] = found[name]
        return outputs

    def check(self, columns: int) -> None:
        require(Chain(self.steps).width(columns) == 1, "scores of several columns")


@dataclass(slots=True)
class Asked(Step):
    """What a model says of each row, as a column for each of its values."""

    head: Answering
    values: int

    def __call__(self, table: Table) -> Table:
        found = asked(self.head, table, PREDICT)
        return found.reshape(len(found), -1)

    def width(self, columns: int) -> int:
        self.head.check(columns)
        require(self.values == 1, "a model of several values")
        return self.values


@dataclass(slots=True)
class Isolation(Step):
    """The score of a row that is so deep in the trees, all together: -1 for one that is alone at once, up to 0."""

    usual: float

    def __call__(self, table: Table) -> Table:
        depths: Floats = -(2 ** -(dense(table) / self.usual))
        return depths

    def width(self, columns: int) -> int:
        require(self.usual > 0, "a depth that is not above 0")
        return columns

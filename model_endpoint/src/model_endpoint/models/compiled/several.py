"""Heads of models that ask one model after another: labels that a row may have together, chains, weighted medians.

Runs in the build and in a worker.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from model_endpoint.models.compiled.checks import require
from model_endpoint.models.compiled.columns import Chain
from model_endpoint.models.compiled.meta import DECISION, PREDICT, PROBA, asked, second
from model_endpoint.models.compiled.nodes import Answering, Head, Step
from model_endpoint.models.compiled.tables import Floats, Ints, Labels, Table, dense
from model_endpoint.models.predictor import Outputs, require_finite

RESPONSES = (PREDICT, PROBA, DECISION)


@dataclass(slots=True)
class EachLabel(Head):
    """A model for each label that a row may have, which says whether it has it: 1 or 0."""

    members: list[Answering]
    outputs: list[str]
    probable: bool
    scored: bool

    @property
    def further(self) -> frozenset[str]:
        return frozenset({DECISION} if self.scored else ())

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        found: dict[str, list[Floats]] = {}
        pairs = zip(self.members, self.outputs, strict=True)
        scores = np.stack([second(asked(member, rows, output)) for member, output in pairs], axis=1)
        # All ask in the way of the first for the threshold, as scikit-learn does.
        threshold = 0.0 if self.outputs[0] == DECISION else 0.5
        outputs: Outputs = {PREDICT: (scores > threshold).astype(np.int64)}
        if probabilities and self.probable:
            found = {PROBA: [asked(member, rows, PROBA)[:, 1] for member in self.members]}
        if DECISION in more:
            found[DECISION] = [asked(member, rows, DECISION) for member in self.members]
        return outputs | {name: np.stack(parts, axis=1) for name, parts in found.items()}

    def check(self, columns: int) -> None:
        require(len(self.members) == len(self.outputs) > 1, "models of other labels")
        require(set(self.outputs) <= {PROBA, DECISION}, "an unknown output")
        for member in self.members:
            member.check(columns)


@dataclass(slots=True)
class LikelyLabels(Head):
    """The labels whose probability, which the steps give, is above a half."""

    steps: list[Step]

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        proba = dense(Chain(self.steps)(rows))
        require_finite(proba)
        outputs: Outputs = {PREDICT: (proba > 0.5).astype(np.int64)}
        return outputs | {PROBA: proba} if probabilities else outputs

    def check(self, columns: int) -> None:
        require(Chain(self.steps).width(columns) > 1, "a model of one label")


@dataclass(slots=True)
class InTurn(Head):
    """A model for each output, which gets what those before it said as further columns.

    `handed` is what they hand on: one of RESPONSES. `places` say which model gives each output.
    """

    members: list[Answering]
    handed: str
    places: Ints
    probable: bool
    scored: bool

    @property
    def further(self) -> frozenset[str]:
        return frozenset({DECISION} if self.scored else ())

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        matrix = dense(rows)
        wanted = [PREDICT, *([PROBA] if probabilities and self.probable else ()), *more]
        asks_proba = PROBA in (*wanted, self.handed)
        asks_more = [DECISION] if DECISION in (*wanted, self.handed) else []
        said: dict[str, list[Floats]] = {name: [] for name in wanted}
        for member in self.members:
            found = member(matrix, asks_proba, asks_more)
            for name in wanted:
                said[name].append(_one(found[name]))
            matrix = np.concatenate([matrix, _one(found[self.handed])[:, np.newaxis]], axis=1)
        return {name: np.stack(parts, axis=1).take(self.places, axis=1) for name, parts in said.items()}

    def check(self, columns: int) -> None:
        require(self.members and self.handed in RESPONSES, "a chain without models")
        everyone = np.array_equal(np.sort(self.places), np.arange(len(self.members)))
        require(everyone, "outputs of other models")
        for at, member in enumerate(self.members):
            member.check(columns + at)


def _one(values: Labels) -> Floats:
    return second(values.astype(np.float64))


@dataclass(slots=True)
class Median(Head):
    """The value of the member that the weighted median falls on, as AdaBoost has it."""

    members: list[Answering]
    weights: Floats

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        values = np.array([asked(member, rows, PREDICT) for member in self.members]).T
        order = np.argsort(values, axis=1)
        total = np.cumsum(self.weights.take(order), axis=1)
        middle = (total >= 0.5 * total[:, -1:]).argmax(axis=1)
        row = np.arange(len(values))
        return {PREDICT: values[row, order[row, middle]]}

    def check(self, columns: int) -> None:
        require(self.members, "a median without members")
        require(self.weights.shape == (len(self.members),), "weights of other members")
        for member in self.members:
            member.check(columns)

"""Heads that ask other models: votes, stacks, calibration, thresholds and the like.

Runs in the build and in a worker.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from model_endpoint.models.compiled.checks import require
from model_endpoint.models.compiled.columns import Chain
from model_endpoint.models.compiled.nodes import Answering, Head, Step
from model_endpoint.models.compiled.predictor import PROBABILITIES, expit
from model_endpoint.models.compiled.tables import Floats, Ints, Labels, Table, dense, joined
from model_endpoint.models.predictor import Outputs, require_finite

PREDICT, PROBA, DECISION = "predict", "predict_proba", "decision_function"


def asked(member: Answering, rows: Table, output: str) -> Floats:
    """One output of a member, as numbers of shape (n, …)."""
    more = (DECISION,) if output == DECISION else ()
    return member(rows, output == PROBA, more)[output].astype(np.float64)


@dataclass(slots=True)
class Vote(Head):
    """The class that most members say, or that has the highest mean probability if `soft`; `weights` may be none.

    The members' labels are the numbers of the classes.
    """

    members: list[Answering]
    weights: Floats
    soft: bool
    labels: Labels

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        weights = self.weights if len(self.weights) else None
        if self.soft:
            proba = np.average(
                [asked(member, rows, PROBA) for member in self.members], axis=0, weights=weights
            )
            outputs: Outputs = {PREDICT: self.labels.take(proba.argmax(axis=1))}
            return outputs | {PROBA: proba} if probabilities else outputs
        votes = np.stack([asked(member, rows, PREDICT) for member in self.members], axis=1).astype(np.intp)
        counts = [np.bincount(vote, weights, len(self.labels)).argmax() for vote in votes]
        return {PREDICT: self.labels.take(counts)}

    def check(self, columns: int) -> None:
        require(self.members and self.labels.ndim == 1, "a vote without members")
        require(self.weights.shape in ((0,), (len(self.members),)), "weights of other members")
        for member in self.members:
            member.check(columns)


@dataclass(slots=True)
class Average(Head):
    """The mean of the members' values; `weights` may be none."""

    members: list[Answering]
    weights: Floats

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        weights = self.weights if len(self.weights) else None
        values = np.stack([asked(member, rows, PREDICT) for member in self.members], axis=1)
        return {PREDICT: np.average(values, axis=1, weights=weights)}

    def check(self, columns: int) -> None:
        require(self.members, "a mean without members")
        require(self.weights.shape in ((0,), (len(self.members),)), "weights of other members")
        for member in self.members:
            member.check(columns)


@dataclass(slots=True)
class Stack(Head):
    """A final model that gets the members' outputs, and the rows besides if `through`; `starts` leaves out columns."""

    members: list[Answering]
    outputs: list[str]
    starts: list[int]
    final: Answering
    through: bool
    width: int

    @property
    def further(self) -> frozenset[str]:
        return self.final.further

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        parts: list[Table] = []
        for member, output, start in zip(self.members, self.outputs, self.starts, strict=True):
            found = asked(member, rows, output)
            parts.append(found.reshape(len(found), -1)[:, start:])
        if self.through:
            parts.append(rows)
        return self.final(joined(parts), probabilities, more)

    def check(self, columns: int) -> None:
        require(len(self.members) == len(self.outputs) == len(self.starts) > 0, "a stack of other members")
        require(set(self.outputs) <= {PREDICT, PROBA, DECISION}, "an unknown output")
        for member in self.members:
            member.check(columns)
        self.final.check(self.width)


@dataclass(slots=True)
class Relabel(Head):
    """A model whose labels are the numbers of other labels."""

    head: Answering
    labels: Labels

    @property
    def further(self) -> frozenset[str]:
        return self.head.further

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        outputs = self.head(rows, probabilities, more)
        return outputs | {PREDICT: self.labels.take(outputs[PREDICT].astype(np.intp))}

    def check(self, columns: int) -> None:
        require(self.labels.ndim == 1, "labels of another shape")
        self.head.check(columns)


@dataclass(slots=True)
class Curve(Step):
    """A calibrator of one score: between points, or logistic with a slope and an offset if there are no points."""

    x: Floats
    y: Floats
    slope: float
    offset: float

    def __call__(self, table: Table) -> Table:
        scores = dense(table)
        if len(self.x):
            between: Floats = np.interp(scores, self.x, self.y)
            return between
        return np.asarray(expit(-(self.slope * scores + self.offset)), np.float64)

    def width(self, columns: int) -> int:
        require(columns == 1 and self.x.shape == self.y.shape and self.x.ndim == 1, "a curve of other points")
        return 1


@dataclass(slots=True)
class Calibrate(Head):
    """The mean of what calibrators make of members' outputs; `curves` has one for each class, or one for the second."""

    members: list[Answering]
    outputs: list[str]
    curves: list[list[Step]]
    labels: Labels

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        total = np.zeros(())
        for member, output, curves in zip(self.members, self.outputs, self.curves, strict=True):
            total = total + self._one(asked(member, rows, output), curves)
        proba = total / len(self.members)
        outputs: Outputs = {PREDICT: self.labels.take(proba.argmax(axis=1))}
        return outputs | {PROBA: proba} if probabilities else outputs

    def _one(self, scores: Floats, curves: list[Step]) -> Floats:
        if len(curves) == 1:
            score = scores if scores.ndim == 1 else scores[:, 1]
            second = dense(curves[0](score[:, np.newaxis]))
            proba = np.concatenate([1.0 - second, second], axis=1)
        else:
            parts = [dense(curve(scores[:, at : at + 1])) for at, curve in enumerate(curves)]
            proba = np.concatenate(parts, axis=1)
            total = proba.sum(axis=1, keepdims=True)
            even = np.full_like(proba, 1.0 / len(curves))
            proba = np.divide(proba, total, out=even, where=total != 0)
        proba[(proba > 1.0) & (proba <= 1.0 + 1e-5)] = 1.0
        return proba

    def check(self, columns: int) -> None:
        require(len(self.members) == len(self.outputs) == len(self.curves) > 0, "curves of other members")
        for member, curves in zip(self.members, self.curves, strict=True):
            classes = len(self.labels)
            require(len(curves) == (1 if classes == 2 else classes), "curves of other classes")
            require(all(curve.width(1) == 1 for curve in curves), "curves of several scores")
            member.check(columns)


@dataclass(slots=True)
class Decide(Head):
    """Another threshold for the label: `chosen` has the label's number below it, and from it on."""

    head: Answering
    output: str
    column: int
    sign: float
    threshold: float
    chosen: Ints
    labels: Labels

    @property
    def further(self) -> frozenset[str]:
        return self.head.further

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        wanted = set(more) | ({DECISION} if self.output == DECISION else set())
        outputs = self.head(rows, probabilities or self.output == PROBA, wanted)
        scores = outputs[self.output] if self.output == DECISION else outputs[PROBA][:, self.column]
        above = (self.sign * scores >= self.threshold).astype(np.intp)
        labels = {PREDICT: self.labels.take(self.chosen.take(above))}
        unwanted = {DECISION} - set(more)
        return {name: array for name, array in (outputs | labels).items() if name not in unwanted}

    def check(self, columns: int) -> None:
        require(self.output in (PROBA, DECISION) and self.column in (0, 1), "an unknown output")
        require(self.chosen.shape == (2,) and len(self.labels) == 2, "a threshold between other labels")
        self.head.check(columns)


@dataclass(slots=True)
class OneAgainstRest(Head):
    """A model for each class; the highest score wins, and of equal ones the first or the last.

    `zeros` says that a row for which each model gives probability 0 is answered with these, and not refused.
    """

    members: list[Answering]
    outputs: list[str]
    probable: bool
    scored: bool
    first: bool
    zeros: bool
    labels: Labels

    @property
    def further(self) -> frozenset[str]:
        return frozenset({DECISION} if self.scored else ())

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        pairs = list(zip(self.members, self.outputs, strict=True))
        scores = np.stack([second(asked(member, rows, output)) for member, output in pairs], axis=1)
        best = scores.argmax(axis=1) if self.first else scores.shape[1] - 1 - scores[:, ::-1].argmax(axis=1)
        outputs: Outputs = {PREDICT: self.labels.take(best)}
        if probabilities and self.probable:
            proba = np.stack([asked(member, rows, PROBA)[:, 1] for member in self.members], axis=1)
            total = proba.sum(axis=1, keepdims=True)
            none = np.full_like(proba, 0.0 if self.zeros else np.nan)
            outputs[PROBA] = np.divide(proba, total, out=none, where=total != 0)
            require_finite(outputs[PROBA])
        if DECISION in more:
            outputs[DECISION] = scores
        return outputs

    def check(self, columns: int) -> None:
        require(len(self.members) == len(self.outputs) == len(self.labels) > 1, "models of other classes")
        for member in self.members:
            member.check(columns)


def second(scores: Floats) -> Floats:
    """The scores of a binary model for its second class, whether it has one score a row or two."""
    return scores if scores.ndim == 1 else scores[:, 1]


@dataclass(slots=True)
class Several(Head):
    """A model for each output, side by side."""

    members: list[Answering]
    probable: bool

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        found = [member(rows, probabilities) for member in self.members]
        outputs: Outputs = {PREDICT: np.stack([part[PREDICT] for part in found], axis=1)}
        if probabilities and self.probable:
            outputs |= {f"{PROBA}_{at}": part[PROBA] for at, part in enumerate(found)}
        return outputs

    def check(self, columns: int) -> None:
        require(self.members, "a model without outputs")
        for member in self.members:
            member.check(columns)


@dataclass(slots=True)
class Turn(Head):
    """Steps on a regressor's values."""

    head: Answering
    steps: list[Step]

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        values = asked(self.head, rows, PREDICT)
        turned = dense(Chain(self.steps)(values.reshape(len(values), -1)))
        require_finite(turned)
        return {PREDICT: turned[:, 0] if values.ndim == 1 else turned}

    def check(self, columns: int) -> None:
        require(Chain(self.steps).width(1) == 1, "a turned target of several columns")
        self.head.check(columns)


@dataclass(slots=True)
class Boost(Head):
    """A weighted vote, as AdaBoost has it; the members' labels are the classes themselves.

    If `by_odds`, members say how likely each class is, as in older versions (SAMME.R).
    """

    members: list[Answering]
    weights: Floats
    labels: Labels
    by_odds: bool

    @property
    def further(self) -> frozenset[str]:
        return frozenset({DECISION})

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        classes = len(self.labels)
        total = np.zeros(())
        for member, weight in zip(self.members, self.weights.tolist(), strict=True):
            if self.by_odds:
                logs = np.log(np.maximum(asked(member, rows, PROBA), np.finfo(np.float64).eps))
                total = total + (classes - 1) * (logs - (1.0 / classes) * logs.sum(axis=1, keepdims=True))
                continue
            right = member(rows, False)[PREDICT][:, np.newaxis] == self.labels
            total = total + np.where(right, weight, -1 / (classes - 1) * weight)
        scores = total / self.weights.sum()
        if classes == 2:
            decision = scores[:, 1] - scores[:, 0]
            outputs: Outputs = {PREDICT: self.labels.take((decision > 0).astype(np.intp))}
            scores = np.stack([-decision, decision], axis=1) / 2
        else:
            decision = scores
            outputs = {PREDICT: self.labels.take(scores.argmax(axis=1))}
            scores = scores / (classes - 1)
        if probabilities:
            outputs[PROBA] = PROBABILITIES["softmax"](scores)
        return outputs | {DECISION: decision} if DECISION in more else outputs

    def check(self, columns: int) -> None:
        require(
            len(self.labels) > 1 and self.weights.shape == (len(self.members),), "weights of other members"
        )
        require(self.members, "a vote without members")
        for member in self.members:
            member.check(columns)

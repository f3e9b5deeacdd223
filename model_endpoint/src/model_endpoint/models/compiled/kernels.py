"""Support vector machines: what rows and support vectors have in common, and the duels of classes.

Runs in the build and in a worker.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from model_endpoint.models.compiled.checks import require
from model_endpoint.models.compiled.columns import Chain
from model_endpoint.models.compiled.meta import DECISION, PREDICT, PROBA
from model_endpoint.models.compiled.nodes import Head, Step
from model_endpoint.models.compiled.tables import Floats, Labels, Sparse, Table, dense
from model_endpoint.models.predictor import Outputs, require_finite

LINEAR, POLYNOMIAL, RADIAL, SIGMOID = "linear", "poly", "rbf", "sigmoid"
KERNELS = (LINEAR, POLYNOMIAL, RADIAL, SIGMOID)
LEAST_PROBABILITY = 1e-7  # libsvm's own, in a duel
MOST_DEGREES = 100
MOST_NUMBERS = 1 << 15  # of differences at a time, which stay in the processor's cache
MOST_ROUNDS = 100
ENOUGH = 0.005


@dataclass(slots=True)
class Kernel(Step):
    """The kernel of each row with each of `points`, which have the shape (points, columns)."""

    name: str
    points: Floats
    gamma: float
    offset: float
    degree: int

    def __call__(self, table: Table) -> Table:
        with np.errstate(all="ignore"):
            if isinstance(table, Sparse):
                return self._of(self._squares(table) if self.name == RADIAL else self._products(table))
            matrix = dense(table)
            found = np.empty((len(matrix), len(self.points)))
            for part in _parts(len(matrix), self.points.size):
                rows = matrix[part, np.newaxis]
                if self.name == RADIAL:  # of differences, as libsvm has it: products would lose digits
                    gaps = self.points - rows
                    found[part] = self._of(_dots(gaps, gaps))
                else:
                    found[part] = self._of(_dots(self.points, rows))
        return found

    def _of(self, numbers: Floats) -> Floats:
        """The kernel of what rows and points have in common: the squares of their distances, or their products."""
        if self.name == RADIAL:
            # Of complex numbers numpy asks C's function, as libsvm does; its own often differs in the last bit.
            return np.asarray(np.exp(-self.gamma * numbers + 0j).real)
        if self.name == LINEAR:
            return numbers
        numbers = self.gamma * numbers + self.offset
        return _power(numbers, self.degree) if self.name == POLYNOMIAL else np.asarray(np.tanh(numbers))

    def _products(self, table: Sparse) -> Floats:
        return np.stack([self.points.take(columns, axis=1) @ values for columns, values in table.each()])

    def _squares(self, table: Sparse) -> Floats:
        own = np.einsum("ij,ij->i", self.points, self.points)
        theirs = table.sums(table.values * table.values)[:, np.newaxis]
        return np.asarray(np.maximum(theirs - 2.0 * self._products(table) + own, 0.0))

    def width(self, columns: int) -> int:
        require(self.name in KERNELS, "an unknown kernel")
        require(self.points.ndim == 2 and self.points.shape[1] == columns, "points of other columns")
        require(0 <= self.degree <= MOST_DEGREES, "an unknown degree")
        return len(self.points)


def _parts(rows: int, numbers: int) -> list[slice]:
    """Parts of the rows, of which each needs so many numbers."""
    size = max(1, MOST_NUMBERS // max(1, numbers))
    return [slice(start, start + size) for start in range(0, rows, size)]


def _dots(left: Floats, right: Floats) -> Floats:
    """The products of rows with rows, each by the function that libsvm calls: other ways add in another order."""
    result: Floats = np.matmul(left[..., np.newaxis, :], right[..., np.newaxis])[..., 0, 0]
    return result


def _power(numbers: Floats, degree: int) -> Floats:
    """The numbers to a power, by squares, as libsvm has it."""
    result = np.ones_like(numbers)
    while degree:
        if degree % 2:
            result *= numbers
        numbers = numbers * numbers
        degree //= 2
    return result


@dataclass(slots=True)
class AddUp(Step):
    """Multiplies the rows with weights of the shape (columns, outputs) and adds, one after another, as libsvm does."""

    weights: Floats
    intercept: Floats

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        sums = np.empty((len(matrix), self.weights.shape[1]))
        for part in _parts(len(matrix), matrix.shape[1]):
            for at, weights in enumerate(self.weights.T):
                sums[part, at] = np.add.accumulate(matrix[part] * weights, axis=1)[:, -1]
        return sums + self.intercept

    def width(self, columns: int) -> int:
        require(self.weights.ndim == 2 and len(self.weights) == columns > 0, "weights of other columns")
        require(self.intercept.shape == self.weights.shape[1:], "intercepts of other outputs")
        return int(self.weights.shape[1])


@dataclass(slots=True)
class Duels(Head):
    """The class that wins most of its duels with each other; of equal ones the first.

    `steps` give a score for each pair of classes, above 0 if the first one wins. The decision function has a score for
    each class if `each`, which also decides if `scored` is; else one for each pair. `slopes` and `offsets` make
    probabilities of the scores; they may be none.
    """

    steps: list[Step]
    labels: Labels
    each: bool
    scored: bool
    slopes: Floats
    offsets: Floats

    @property
    def further(self) -> frozenset[str]:
        return frozenset({DECISION})

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        scores = dense(Chain(self.steps)(rows))
        won = scores > 0
        decision = self._decision(scores) if DECISION in more or self.scored else scores
        best = decision if self.scored else self._wins(won)
        outputs: Outputs = {PREDICT: self.labels.take(best.argmax(axis=1))}
        if probabilities and len(self.slopes):
            outputs[PROBA] = coupled(self._odds(scores), len(self.labels))
        if DECISION in more:
            outputs[DECISION] = decision
        for array in (outputs.get(PROBA), outputs.get(DECISION)):
            if array is not None:
                require_finite(array)
        return outputs

    def _wins(self, won: Labels) -> Floats:
        wins = np.zeros((len(won), len(self.labels)))
        for at, (first, second) in enumerate(combinations(range(len(self.labels)), 2)):
            wins[:, first] += won[:, at]
            wins[:, second] += ~won[:, at]
        return wins

    def _decision(self, scores: Floats) -> Floats:
        """A score for each class: its wins, and a part of one for how clear they are; or one for each pair."""
        if len(self.labels) == 2:
            return -scores[:, 0]
        if not self.each:
            return scores
        clear = np.zeros((len(scores), len(self.labels)))
        for at, (first, second) in enumerate(combinations(range(len(self.labels)), 2)):
            clear[:, first] += scores[:, at]
            clear[:, second] -= scores[:, at]
        result: Floats = self._wins(~(scores < 0)) + clear / (3 * (np.abs(clear) + 1))
        return result

    def _odds(self, scores: Floats) -> Floats:
        """The probability that the first of each pair is right."""
        powers = scores * self.slopes + self.offsets
        small = np.exp(-np.abs(powers))
        odds = np.where(powers >= 0, small / (1.0 + small), 1.0 / (1.0 + small))
        return np.asarray(np.clip(odds, LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY))

    def check(self, columns: int) -> None:
        classes = len(self.labels)
        pairs = classes * (classes - 1) // 2
        require(self.labels.ndim == 1 and classes > 1, "labels of another shape")
        require(Chain(self.steps).width(columns) == pairs, "scores of other classes")
        require(self.slopes.shape == self.offsets.shape, "slopes of other offsets")
        require(self.slopes.shape in ((0,), (pairs,)), "probabilities of other classes")
        require(not self.scored or (self.each and classes > 2), "scores that can't decide")


def coupled(odds: Floats, classes: int) -> Floats:
    """The probabilities of the classes that fit those of each pair best: libsvm's own rounds, on all rows at once."""
    pairs = np.zeros((len(odds), classes, classes))
    for at, (first, second) in enumerate(combinations(range(classes), 2)):
        pairs[:, first, second] = odds[:, at]
        pairs[:, second, first] = 1.0 - odds[:, at]
    factors: Floats = -np.swapaxes(pairs, 1, 2) * pairs
    diagonal = np.arange(classes)
    factors[:, diagonal, diagonal] = (pairs**2).sum(axis=1)
    found = np.full((len(odds), classes), 1.0 / classes)
    active = np.arange(len(odds))
    for _ in range(max(MOST_ROUNDS, classes)):
        active = _round(factors, found, active)
        if not len(active):
            break
    return found


def _round(factors: Floats, found: Floats, active: Labels) -> Labels:
    """Improve the rows that are `active`; returns those that were not good enough."""
    own, now = factors[active], found[active]
    products = np.einsum("nij,nj->ni", own, now)
    total = (now * products).sum(axis=1)
    wrong = np.abs(products - total[:, np.newaxis]).max(axis=1)
    kept = ~(wrong < ENOUGH / found.shape[1])
    active, own, now, products, total = active[kept], own[kept], now[kept], products[kept], total[kept]
    for at in range(found.shape[1]):
        step = (total - products[:, at]) / own[:, at, at]
        now[:, at] += step
        scale = 1.0 + step
        total = (total + step * (step * own[:, at, at] + 2.0 * products[:, at])) / scale / scale
        products = (products + step[:, np.newaxis] * own[:, at]) / scale[:, np.newaxis]
        now /= scale[:, np.newaxis]
    found[active] = now
    return active

"""Heads that score rows otherwise than by weights or trees. Runs in the build and in a worker."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from model_endpoint.models.compiled.checks import require
from model_endpoint.models.compiled.columns import Chain
from model_endpoint.models.compiled.nodes import Head, Step
from model_endpoint.models.compiled.predictor import PROBABILITIES, expit
from model_endpoint.models.compiled.tables import Floats, Labels, Table, dense
from model_endpoint.models.predictor import Outputs, require_finite


@dataclass(slots=True)
class Classify(Head):
    """Steps that give scores, then labels and probabilities by the link, a name in PROBABILITIES.

    The scores are the decision function if `scored`, of two classes the second's less the first's.
    """

    steps: list[Step]
    link: str
    labels: Labels
    scored: bool = False

    @property
    def further(self) -> frozenset[str]:
        return frozenset({"decision_function"} if self.scored else ())

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        scores = dense(Chain(self.steps)(rows))
        require_finite(scores)
        best = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(np.intp)
        outputs: Outputs = {"predict": self.labels.take(best)}
        if probabilities:
            outputs["predict_proba"] = PROBABILITIES[self.link](scores)
        if "decision_function" in more:
            outputs["decision_function"] = scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores
        return outputs

    def check(self, columns: int) -> None:
        scores = Chain(self.steps).width(columns)
        require(self.link in PROBABILITIES and self.labels.ndim == 1, "an unknown link")
        require(
            len(self.labels) == max(2, scores) or scores == len(self.labels) == 1, "labels of other scores"
        )


@dataclass(slots=True)
class Values(Head):
    """Steps that give a regressor's values."""

    steps: list[Step]

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        values = dense(Chain(self.steps)(rows))
        require_finite(values)
        return {"predict": values[:, 0] if values.shape[1] == 1 else values}

    def check(self, columns: int) -> None:
        require(Chain(self.steps).width(columns) > 0, "a model without values")


@dataclass(slots=True)
class Nearest(Head):
    """The number of the nearest center; `transform` gives the distances to all."""

    centers: Floats

    @property
    def further(self) -> frozenset[str]:
        return frozenset({"transform"})

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        matrix = dense(rows)
        products = -2.0 * (matrix @ self.centers.T)
        products += np.einsum("ij,ij->i", self.centers, self.centers)
        require_finite(products)
        outputs: Outputs = {"predict": products.argmin(axis=1).astype(np.int32)}
        if "transform" in more:
            squares = products + np.einsum("ij,ij->i", matrix, matrix)[:, np.newaxis]
            outputs["transform"] = np.sqrt(np.maximum(squares, 0.0))
            require_finite(outputs["transform"])
        return outputs

    def check(self, columns: int) -> None:
        require(self.centers.ndim == 2 and self.centers.shape[1] == columns, "centers of other columns")
        require(len(self.centers), "no centers")


@dataclass(slots=True)
class GaussianScores(Step):
    """The logarithms of normal densities; `means` and `variances` have the shape (classes, columns)."""

    means: Floats
    variances: Floats
    priors: Floats

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        base = np.log(self.priors) - 0.5 * np.log(2.0 * np.pi * self.variances).sum(axis=1)
        scores = [
            base[at] - 0.5 * ((matrix - mean) ** 2 / variance).sum(axis=1)
            for at, (mean, variance) in enumerate(zip(self.means, self.variances, strict=True))
        ]
        return np.stack(scores, axis=1)

    def width(self, columns: int) -> int:
        require(
            self.means.shape == self.variances.shape == (len(self.priors), columns), "means of other columns"
        )
        require(self.priors.ndim == 1 and len(self.priors), "no classes")
        return len(self.priors)


@dataclass(slots=True)
class QuadraticScores(Step):
    """For each class a number less half the square of how far a row lies from it, in directions of its own.

    `centers` has the shape (classes, columns); `directions` has (columns, directions) for each class; `offsets` is what
    each class's center has there, if it is not taken from the row before.
    """

    centers: Floats
    directions: list[Floats]
    offsets: list[Floats]
    base: Floats

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        parts = zip(self.centers, self.directions, self.offsets, strict=True)
        squares = [(((matrix - center) @ ways - offset) ** 2).sum(axis=1) for center, ways, offset in parts]
        scores: Floats = -0.5 * np.stack(squares, axis=1) + self.base
        return scores

    def width(self, columns: int) -> int:
        classes = len(self.base)
        require(
            self.base.ndim == 1 and classes and self.centers.shape == (classes, columns),
            "centers of other columns",
        )
        require(len(self.directions) == len(self.offsets) == classes, "directions of other classes")
        for ways, offset in zip(self.directions, self.offsets, strict=True):
            require(ways.ndim == 2 and len(ways) == columns, "directions of other columns")
            require(offset.shape in ((), ways.shape[1:]), "offsets of other directions")
        return classes


@dataclass(slots=True)
class Mixture(Head):
    """The number of the likeliest part of a mixture; `score_samples` gives the logarithm of the density."""

    steps: list[Step]

    @property
    def further(self) -> frozenset[str]:
        return frozenset({"score_samples"})

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        scores = dense(Chain(self.steps)(rows))
        require_finite(scores)
        outputs: Outputs = {"predict": scores.argmax(axis=1)}
        if probabilities:
            outputs["predict_proba"] = PROBABILITIES["softmax"](scores)
        if "score_samples" in more:
            largest = scores.max(axis=1)
            sums = np.exp(scores - largest[:, np.newaxis]).sum(axis=1)
            outputs["score_samples"] = np.log(sums) + largest
        return outputs

    def check(self, columns: int) -> None:
        require(Chain(self.steps).width(columns) > 0, "a mixture without parts")


@dataclass(slots=True)
class CategoryScores(Step):
    """The sum of what each column's category adds to each class; `parts` are of shape (categories, classes)."""

    parts: list[Floats]
    priors: Floats

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        require_finite(matrix)
        codes = np.trunc(matrix).T
        scores = np.zeros((len(matrix), len(self.priors)))
        for part, code in zip(self.parts, codes, strict=True):
            if code.min() < 0 or code.max() >= len(part):
                raise ValueError("training had no such category")
            scores += part.take(code.astype(np.intp), axis=0)
        return scores + self.priors

    def width(self, columns: int) -> int:
        require(len(self.parts) == columns > 0 and self.priors.ndim == 1, "categories of other columns")
        shapes = {part.shape[1:] for part in self.parts}
        require(shapes == {self.priors.shape} != {(0,)}, "categories of other classes")
        return len(self.priors)


@dataclass(slots=True)
class Logistic(Step):
    """The logistic function of each number."""

    def __call__(self, table: Table) -> Table:
        return np.asarray(expit(dense(table)), np.float64)

    def width(self, columns: int) -> int:
        return columns

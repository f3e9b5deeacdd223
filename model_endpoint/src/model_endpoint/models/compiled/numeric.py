"""Steps on matrices of numbers. Runs in the build and in a worker."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from model_endpoint.models.compiled.checks import WIDEST, require, require_within
from model_endpoint.models.compiled.nodes import Step
from model_endpoint.models.compiled.tables import Floats, Ints, Sparse, Table, dense, times

FUNCTIONS = {
    name: getattr(np, name)
    for name in (
        *(
            "abs",
            "arccos",
            "arccosh",
            "arcsin",
            "arcsinh",
            "arctan",
            "arctanh",
            "cbrt",
            "ceil",
            "cos",
            "cosh",
        ),
        *("deg2rad", "degrees", "exp", "exp2", "expm1", "fabs", "floor", "log", "log10", "log1p", "log2"),
        *("nan_to_num", "negative", "positive", "rad2deg", "radians", "reciprocal", "rint", "round", "sign"),
        *("sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc"),
    )
}
NORMAL = NormalDist()
BOUNDS = 1e-7  # scikit-learn's own, within which a quantile counts as the lowest or highest
MOST_DEGREES = 8


@dataclass(slots=True)
class Project(Step):
    """Multiplies the rows, less `center` if it has numbers, with weights of the shape (columns, outputs) and adds."""

    center: Floats
    weights: Floats
    intercept: Floats

    def __call__(self, table: Table) -> Table:
        if len(self.center):
            return (dense(table) - self.center) @ self.weights + self.intercept
        return times(table, self.weights) + self.intercept

    def width(self, columns: int) -> int:
        require(self.center.shape in ((0,), (columns,)), "centers of other columns")
        require(self.weights.ndim == 2 and len(self.weights) == columns, "weights of other columns")
        require(self.intercept.shape in ((), self.weights.shape[1:]), "intercepts of other outputs")
        return int(self.weights.shape[1])


@dataclass(slots=True)
class Apply(Step):
    """Applies a function of numpy to each number."""

    name: str

    def __call__(self, table: Table) -> Table:
        with np.errstate(all="ignore"):
            result: Floats = FUNCTIONS[self.name](dense(table))
        return result

    def width(self, columns: int) -> int:
        require(self.name in FUNCTIONS, "an unknown function")
        return columns


@dataclass(slots=True)
class Normalize(Step):
    """Divides each row by its norm."""

    norm: str

    def __call__(self, table: Table) -> Table:
        if isinstance(table, Sparse):
            return table.normalized(self.norm)
        matrix = dense(table)
        if self.norm == "l2":
            norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
        else:
            sizes = np.abs(matrix)
            norms = sizes.sum(axis=1) if self.norm == "l1" else sizes.max(axis=1)
        norms[norms == 0] = 1.0
        result: Floats = matrix / norms[:, np.newaxis]
        return result

    def width(self, columns: int) -> int:
        require(self.norm in ("l1", "l2", "max") and columns, "an unknown norm")
        return columns


@dataclass(slots=True)
class Above(Step):
    """1 for a number above the threshold, else 0."""

    threshold: float

    def __call__(self, table: Table) -> Table:
        if isinstance(table, Sparse) and self.threshold >= 0:
            above = (table.values > self.threshold).astype(np.float64)
            return Sparse(table.rows, table.columns, above, table.count, table.width)
        matrix = dense(table)
        if np.isnan(matrix).any():
            raise ValueError("a value is missing")
        return (matrix > self.threshold).astype(np.float64)

    def width(self, columns: int) -> int:
        return columns


@dataclass(slots=True)
class Bins(Step):
    """The number of the bin that each number falls into; `edges` are those between bins, for each column.

    With `spread`, a column of 0 and 1 for each bin instead.
    """

    edges: list[Floats]
    spread: bool

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        if np.isnan(matrix).any():
            raise ValueError("a value is missing")
        codes = [
            edges.searchsorted(column, side="right")
            for edges, column in zip(self.edges, matrix.T, strict=True)
        ]
        if not self.spread:
            return np.stack(codes, axis=1).astype(np.float64)
        return np.concatenate(
            [
                (code[:, np.newaxis] == range(len(edges) + 1))
                for code, edges in zip(codes, self.edges, strict=True)
            ],
            axis=1,
        ).astype(np.float64)

    def width(self, columns: int) -> int:
        require(len(self.edges) == columns > 0, "edges of other columns")
        require(all(edges.ndim == 1 for edges in self.edges), "edges of another shape")
        return sum(len(edges) + 1 for edges in self.edges) if self.spread else columns


@dataclass(slots=True)
class Products(Step):
    """Products of columns, level by level: those of level n are a column times a product of level n - 1.

    `kept` chooses among 1, the columns and all products.
    """

    first: list[Ints]
    rest: list[Ints]
    kept: Ints

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        blocks = [np.ones((len(matrix), 1)), matrix]
        for first, rest in zip(self.first, self.rest, strict=True):
            blocks.append(matrix.take(first, axis=1) * blocks[-1].take(rest, axis=1))
        result: Floats = np.concatenate(blocks, axis=1).take(self.kept, axis=1)
        if np.isnan(matrix).any():
            raise ValueError("a value is missing")
        return result

    def width(self, columns: int) -> int:
        require(len(self.first) == len(self.rest) < MOST_DEGREES, "too many levels of products")
        total, before = 1 + columns, columns
        for first, rest in zip(self.first, self.rest, strict=True):
            require(len(first) == len(rest) <= WIDEST, "products of other columns")
            require_within(first, columns, "a product's columns")
            require_within(rest, before, "a product's factors")
            before = len(first)
            total += before
        require(total <= WIDEST, f"{total} products")
        require_within(self.kept, total, "kept products")
        return len(self.kept)


@dataclass(slots=True)
class Power(Step):
    """Box-Cox's or Yeo-Johnson's transform of each column with its own power."""

    positive: bool
    powers: Floats

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        if self.positive and (matrix <= 0).any():
            raise ValueError("a number is not above 0")
        result = np.empty_like(matrix)
        with np.errstate(all="ignore"):
            for at, power in enumerate(self.powers.tolist()):
                make = _box_cox if self.positive else _yeo_johnson
                result[:, at] = make(matrix[:, at], power)
        return result

    def width(self, columns: int) -> int:
        require(self.powers.shape == (columns,), "powers of other columns")
        return columns


def _box_cox(numbers: Floats, power: float) -> Floats:
    logs = np.log(numbers)
    result: Floats = logs if power == 0 else np.expm1(power * logs) / power
    return result


def _yeo_johnson(numbers: Floats, power: float) -> Floats:
    logs = np.log1p(np.abs(numbers))
    above = logs if power == 0 else np.expm1(power * logs) / power
    other = 2.0 - power
    below = -logs if other == 0 else -np.expm1(other * logs) / other
    result: Floats = np.where(numbers >= 0, above, below)
    return result


@dataclass(slots=True)
class Quantiles(Step):
    """The quantile of each number, evenly spread or as the normal distribution is.

    `quantiles` has the shape (references, columns).
    """

    quantiles: Floats
    references: Floats
    normal: bool

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        result = np.empty_like(matrix)
        for at, quantiles in enumerate(self.quantiles.T):
            result[:, at] = self._column(matrix[:, at], quantiles)
        return result

    def _column(self, numbers: Floats, quantiles: Floats) -> Floats:
        low, high = quantiles[0], quantiles[-1]
        if self.normal:
            lowest, highest = numbers - BOUNDS < low, numbers + BOUNDS > high
        else:
            lowest, highest = numbers == low, numbers == high
        up = np.interp(numbers, quantiles, self.references)
        down = np.interp(-numbers, -quantiles[::-1], -self.references[::-1])
        found: Floats = 0.5 * (up - down)
        found[highest] = 1.0
        found[lowest] = 0.0
        if not self.normal:
            return found
        least = BOUNDS - np.spacing(1)
        kept = np.clip(found, least, 1 - least)
        return np.array([NORMAL.inv_cdf(part) if part == part else part for part in kept.tolist()])

    def width(self, columns: int) -> int:
        require(self.quantiles.ndim == 2 and self.quantiles.shape[1] == columns, "quantiles of other columns")
        require(self.references.shape == self.quantiles.shape[:1] != (0,), "references of other quantiles")
        return columns


@dataclass(slots=True)
class Splines(Step):
    """Piecewise polynomials of each column, several for each.

    `knots` has the shape (columns, pieces + 1); `factors` (columns, degree + 1, pieces, splines), the highest power
    first, of the distance from a piece's beginning. `beyond` says what becomes of a number outside the knots.
    """

    knots: Floats
    factors: Floats
    beyond: str

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        if np.isnan(matrix).any():
            raise ValueError("a value is missing")
        pairs = zip(matrix.T, self.knots, self.factors, strict=True)
        return np.concatenate([self._column(*parts) for parts in pairs], axis=1)

    def _column(self, numbers: Floats, knots: Floats, factors: Floats) -> Floats:
        low, high = knots[0], knots[-1]
        if self.beyond == "error" and ((numbers < low) | (numbers > high)).any():
            raise ValueError("a number is outside the range of training")
        inside = numbers
        if self.beyond == "periodic":
            inside = low + (numbers - low) % (high - low)
        elif self.beyond in ("constant", "linear"):
            inside = np.clip(numbers, low, high)
        piece = np.clip(knots.searchsorted(inside, side="right") - 1, 0, len(knots) - 2)
        step = (inside - knots[piece])[:, np.newaxis]
        found: Floats = factors[0].take(piece, axis=0)
        slope = np.zeros_like(found)
        for factor in factors[1:]:
            slope = slope * step + found
            found = found * step + factor.take(piece, axis=0)
        if self.beyond == "linear":
            found = found + slope * (numbers - inside)[:, np.newaxis]
        return found

    def width(self, columns: int) -> int:
        require(self.knots.ndim == 2 and self.knots.shape[1] >= 2, "splines without knots")
        require(self.factors.ndim == 4 and self.factors.shape[1] >= 1, "splines of another shape")
        require(len(self.knots) == len(self.factors) == columns, "splines of other columns")
        require(self.factors.shape[2] == self.knots.shape[1] - 1, "splines of other knots")
        require(self.beyond in ("constant", "linear", "continue", "periodic", "error"), "an unknown end")
        return int(columns * self.factors.shape[3])


@dataclass(slots=True)
class Radial(Step):
    """The radial kernel of each row with each of `points`, as Gaussian processes have it."""

    points: Floats

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        squares = np.zeros((len(matrix), len(self.points)))
        with np.errstate(over="ignore"):
            for column, point in zip(matrix.T, self.points.T, strict=True):
                squares += (column[:, np.newaxis] - point) ** 2
        result: Floats = np.exp(-0.5 * squares)
        return result

    def width(self, columns: int) -> int:
        require(self.points.ndim == 2 and self.points.shape[1] == columns > 0, "points of other columns")
        return len(self.points)

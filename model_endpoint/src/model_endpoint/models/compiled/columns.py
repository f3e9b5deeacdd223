"""Steps that choose, fill, encode and join columns. Runs in the build and in a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.checks import WIDEST, require, require_within
from model_endpoint.models.compiled.nodes import Scalar, Step
from model_endpoint.models.compiled.predictor import STEPS
from model_endpoint.models.compiled.tables import Floats, Ints, Sparse, Table, columns_of, dense, joined

NO_PLACE, NO_ANSWER = -1, -2
"""Instead of a category's place: it has none, or the value is refused."""
Codes = dict[Any, int]


@dataclass(slots=True)
class Chain(Step):
    """Steps one after another."""

    steps: list[Step]

    def __call__(self, table: Table) -> Table:
        for step in self.steps:
            table = step(table)
        return table

    def width(self, columns: int) -> int:
        for step in self.steps:
            columns = step.width(columns)
            require(0 <= columns <= WIDEST, f"a step makes {columns} columns")
        return columns


@dataclass(slots=True)
class Union(Step):
    """Steps side by side; each gets all columns."""

    steps: list[Step]

    def __call__(self, table: Table) -> Table:
        return joined([step(table) for step in self.steps])

    def width(self, columns: int) -> int:
        require(self.steps, "a union has no parts")
        total = sum(step.width(columns) for step in self.steps)
        require(total <= WIDEST, f"a union makes {total} columns")
        return total


@dataclass(slots=True)
class Pick(Step):
    """Takes these columns, in this order."""

    at: Ints
    _list: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._list = self.at.tolist()

    def __call__(self, table: Table) -> Table:
        if isinstance(table, list):
            return [table[at] for at in self._list]
        if not isinstance(table, Sparse):
            return table.take(self.at, axis=1)
        places = np.full(table.width, NO_PLACE)
        places[self.at] = np.arange(len(self.at))
        found = places.take(table.columns)
        kept = found >= 0
        return Sparse(table.rows[kept], found[kept], table.values[kept], table.count, len(self.at))

    def width(self, columns: int) -> int:
        require(self.at.ndim == 1, "chosen columns are no list")
        require_within(self.at, columns, "chosen columns")
        return len(self.at)


@dataclass(slots=True)
class Arithmetic(Step):
    """Operations on each column with a number of its own, or with one for all."""

    names: list[str]
    operands: list[Floats]
    _steps: list[tuple[Any, Floats]] = field(init=False)

    def __post_init__(self) -> None:
        self._steps = [
            (STEPS[name], operand) for name, operand in zip(self.names, self.operands, strict=True)
        ]

    def __call__(self, table: Table) -> Table:
        if isinstance(table, Sparse) and set(self.names) <= {"multiply", "divide"}:
            values = table.values
            for step, operand in self._steps:
                values = step(values, operand.take(table.columns) if operand.ndim else operand)
            return Sparse(table.rows, table.columns, values, table.count, table.width)
        matrix = dense(table)
        for step, operand in self._steps:
            matrix = step(matrix, operand)
        return matrix

    def width(self, columns: int) -> int:
        require(all(item.shape in ((), (columns,)) for item in self.operands), "numbers for other columns")
        return columns


@dataclass(slots=True)
class ImputeNumbers(Step):
    """Fills gaps with a number for each column, keeps the columns `kept`, and adds where gaps were in `indicators`."""

    marker: float
    fill: Floats
    kept: Ints
    indicators: Ints
    _all: bool = field(init=False)

    def __post_init__(self) -> None:
        self._all = np.array_equal(self.kept, np.arange(len(self.fill)))

    def __call__(self, table: Table) -> Table:
        matrix = dense(table)
        gaps = np.isnan(matrix)
        if self.marker == self.marker:
            if gaps.any():
                raise ValueError("a value is missing")
            gaps = matrix == self.marker
        filled: Floats = np.where(gaps, self.fill, matrix)
        if not self._all:
            filled = filled.take(self.kept, axis=1)
        if not len(self.indicators):
            return filled
        return np.concatenate([filled, gaps.take(self.indicators, axis=1)], axis=1)

    def width(self, columns: int) -> int:
        require(self.fill.shape == (columns,), "fillings of other columns")
        require_within(self.kept, columns, "kept columns")
        require_within(self.indicators, columns, "indicators")
        return len(self.kept) + len(self.indicators)


@dataclass(slots=True)
class ImputeValues(Step):
    """Fills gaps in columns of any type; a gap is NaN, or what equals `marker`."""

    marker: Scalar
    fill: list[Scalar]

    def __call__(self, table: Table) -> Table:
        pairs = zip(columns_of(table), self.fill, strict=True)
        return [
            as_objects([self._filled(value, fill) for value in column.tolist()]) for column, fill in pairs
        ]

    def _filled(self, value: Scalar, fill: Scalar) -> Scalar:
        if self.marker != self.marker:
            return fill if value != value else value
        return fill if value == self.marker else value

    def width(self, columns: int) -> int:
        require(len(self.fill) == columns, "fillings of other columns")
        return columns


@dataclass(slots=True)
class OneHot(Step):
    """A column of 0 and 1 for each category.

    `places` has the output column of each category, or NO_PLACE; `others` that of a value that is none, or NO_ANSWER.
    """

    categories: list[list[Scalar]]
    places: list[list[int]]
    others: list[int]
    total: int
    _codes: list[tuple[Codes, int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._codes = codes_of(self.categories, self.places, self.others)

    def __call__(self, table: Table) -> Table:
        columns = columns_of(table)
        matrix = np.zeros((len(columns[0]), self.total))
        for column, (codes, gap, other) in zip(columns, self._codes, strict=True):
            for row, value in enumerate(column.tolist()):
                place = codes.get(value, gap if value != value else other)
                if place >= 0:
                    matrix[row, place] = 1.0
                elif place == NO_ANSWER:
                    raise ValueError(f"training had no {value!r}")
        return matrix

    def width(self, columns: int) -> int:
        require(len(self._codes) == columns > 0, "categories of other columns")
        require(0 <= self.total <= WIDEST, f"{self.total} categories")
        lasts = [place for places in (*self.places, self.others) for place in places]
        require(min(lasts) >= NO_ANSWER and max(lasts) < self.total, "categories lie outside")
        return self.total


@dataclass(slots=True)
class Encode(Step):
    """One or more numbers instead of each column's category: a code, or the target's means.

    `numbers` has those of each category, of shape (categories, numbers) for each column; the last are those of a value
    that is none; `refuses` says of each column that such a value is refused.
    """

    categories: list[list[Scalar]]
    numbers: list[Floats]
    refuses: list[bool]
    _codes: list[tuple[Codes, int, int]] = field(init=False)

    def __post_init__(self) -> None:
        places = [list(range(len(values))) for values in self.categories]
        others = [
            NO_ANSWER if refused else len(values)
            for values, refused in zip(self.categories, self.refuses, strict=True)
        ]
        self._codes = codes_of(self.categories, places, others)

    def __call__(self, table: Table) -> Table:
        parts = []
        for column, (codes, gap, other), numbers in zip(
            columns_of(table), self._codes, self.numbers, strict=True
        ):
            found = [codes.get(value, gap if value != value else other) for value in column.tolist()]
            if NO_ANSWER in found:
                raise ValueError(f"training had no {column.tolist()[found.index(NO_ANSWER)]!r}")
            parts.append(numbers.take(found, axis=0))
        return np.concatenate(parts, axis=1)

    def width(self, columns: int) -> int:
        require(len(self._codes) == columns > 0, "categories of other columns")
        for values, numbers in zip(self.categories, self.numbers, strict=True):
            require(numbers.ndim == 2 and len(numbers) == len(values) + 1, "numbers of other categories")
        return sum(numbers.shape[1] for numbers in self.numbers)


def codes_of(
    categories: Sequence[Sequence[Scalar]], places: Sequence[Sequence[int]], others: Sequence[int]
) -> list[tuple[Codes, int, int]]:
    """For each column the place of each value, of NaN, and of what is none of them."""
    found = []
    for values, at, other in zip(categories, places, others, strict=True):
        pairs = list(zip(values, at, strict=True))
        gap = next((place for value, place in pairs if value != value), other)
        found.append(({value: place for value, place in pairs if value == value}, gap, other))
    return found


def as_objects(values: list[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array

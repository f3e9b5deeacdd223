"""The contract of a model's input: what each column is. Runs in the build, in a worker and beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPES = ("number", "integer", "boolean", "string", "category", "datetime")
ARRAY, FRAME, TEXTS, DICTS = "array", "frame", "texts", "dicts"
FORMS = (ARRAY, FRAME, TEXTS, DICTS)
NOT_TAKEN, AS_MISSING, AS_OTHER = "refused", "taken as missing", "encoded as other"
UNKNOWN = (NOT_TAKEN, AS_MISSING, AS_OTHER)

Cell = bool | int | float | str | None
"""A value of a row as JSON has it; a date is text."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the input.

    `minimum` and `maximum` are the range of the training data; a date is text. `dtype` is the column's type in pandas'
    words where the estimator was fitted on another than float64. `missing` says that the column may have missing
    values, and `missing_as` how the estimator was given them if not as NaN. `categories` are the values that the
    estimator knows, and `unknown` is what becomes of any other. `read` is false for a column that the estimator was
    given and does not use.
    """

    name: str
    type: str
    minimum: float | str | None = None
    maximum: float | str | None = None
    dtype: str | None = None
    missing: bool = False
    missing_as: str | None = None
    categories: list[Any] | None = None
    categories_dtype: str | None = None
    ordered: bool = False
    unknown: str | None = None
    read: bool = True
    known: frozenset[Any] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(
                f"the type of {self.name!r} is {self.type!r}; it must be one of {', '.join(TYPES)}"
            )
        if self.unknown is not None and self.unknown not in UNKNOWN:
            raise ValueError(
                f"unknown of {self.name!r} is {self.unknown!r}; it must be one of {', '.join(UNKNOWN)}"
            )
        if self.categories is not None:
            object.__setattr__(self, "known", frozenset(self.categories))

    @property
    def plain(self) -> bool:
        """Whether every finite number is right, in float64."""
        return self.dtype is None and not self.missing and self.categories is None

    @property
    def takes(self) -> str:
        """The type of a request's values: an earlier version called whole what training had by chance."""
        return "number" if self.type == "integer" and self.dtype is None else self.type

    @property
    def label(self) -> str:
        """How an error names the column; a text model's column has no name."""
        return self.name or "text"

    def values(self) -> dict[str, Any]:
        """The fields that say something, for model.yml."""
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.init and getattr(self, item.name) != item.default
        }


@dataclass(slots=True)
class Columns:
    """Values of all columns of a contract, one array of n values for each.

    A missing value is NaN in an array of floats, NaT in one of dates, and None in an array of objects.
    """

    arrays: Sequence[NDArray[Any]]

    def __len__(self) -> int:
        return len(self.arrays[0])

    def take(self, rows: NDArray[np.intp] | slice) -> Columns:
        """The columns with these rows alone."""
        return Columns([array[rows] for array in self.arrays])

    @staticmethod
    def join(parts: Sequence[Columns]) -> Columns:
        """The rows of all `parts`, one part after another."""
        return Columns(
            [np.concatenate(arrays) for arrays in zip(*(part.arrays for part in parts), strict=True)]
        )


Input = NDArray[Any] | Columns
"""What a predictor takes: an array of shape (n, columns) for a contract of the form `array`, else columns."""


def join(parts: Sequence[Input]) -> Input:
    """The rows of several inputs of one model."""
    if isinstance(parts[0], Columns):
        return Columns.join([part for part in parts if isinstance(part, Columns)])
    return np.concatenate([part for part in parts if not isinstance(part, Columns)])

"""Columns that nodes of trees ask for besides the row's own. Runs in the build and in a worker.

A node only asks whether a value is above its threshold. Where a library asks otherwise, a derived column has the
value that makes this question give the library's answer: LightGBM's treatment of zeros, and sets of categories.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.checks import WIDEST, require
from model_endpoint.models.predictor import Rows

MISSING_AS_ZERO, ZERO_LEFT, ZERO_RIGHT, IN_SET = range(4)
NEARLY_ZERO = float(np.float32(1e-35))
"""LightGBM takes what is not further from 0 for 0."""


class TreeColumns:
    """Derives columns, which stand after the row's own `width` columns.

    Derived column number i has the values of column `source[i]`, changed as `kind[i]` says: a missing value becomes 0;
    a missing value or 0 becomes so small, or so large, that every node sends it left, or right; or a category becomes
    1 if it goes right, by the row `member[i]` of `sets`. A row of `sets` has an item for each code from 0, then one
    for any other number and one for a missing value. A code is a number without its fraction; numbers up to `lowest`
    are none. Column `coded[i]` of the row first becomes the `codes[i]` of its value in `known[i]`, which are sorted
    and filled up with infinities, or missing if it is not there.
    """

    def __init__(
        self,
        width: NDArray[np.intp],
        source: NDArray[np.intp],
        kind: NDArray[np.intp],
        member: NDArray[np.intp],
        sets: NDArray[np.bool_],
        lowest: NDArray[np.float64],
        coded: NDArray[np.intp],
        known: NDArray[np.float64],
        codes: NDArray[np.float64],
    ) -> None:
        self.width = int(width)
        self.source = source
        self.kind = kind
        self._member = member
        self._sets = sets
        self._lowest = float(lowest)
        self._coded = coded
        self._known = known
        self._codes = codes
        self._check()
        self._groups = [(group, at) for group in range(4) if len(at := np.flatnonzero(kind == group))]

    @property
    def most_breaks(self) -> int:
        """How many `breaks` a column can have besides its nodes' thresholds."""
        return int(self._sets.shape[1] + 2 * self._known.shape[1] + 2)

    def _check(self) -> None:
        numbers = (self.source, self.kind, self._member, self._coded)
        if (
            any(array.ndim != 1 or array.dtype.kind != "i" for array in numbers)
            or self._sets.dtype != np.bool_
            or not self._known.dtype == self._codes.dtype == np.float64
        ):
            raise ValueError("the trees' columns contradict each other: some are no lists of whole numbers")
        require(0 < self.width <= WIDEST, f"trees of {self.width} columns")
        count, columns = len(self.source), [*self.source.tolist(), *self._coded.tolist()]
        if not (
            len(self.kind) == len(self._member) == count
            and self._known.shape == self._codes.shape == (len(self._coded), *self._known.shape[1:])
            and self._known.ndim == self._sets.ndim == 2
            and self._sets.shape[1] >= 2
        ):
            raise ValueError("the sizes of the trees' columns contradict each other")
        in_set = self._member[self.kind == IN_SET]
        if not (
            all(0 <= column < self.width for column in columns)
            and ((self.kind >= 0) & (self.kind <= IN_SET)).all()
            and ((in_set >= 0) & (in_set < len(self._sets))).all()
        ):
            raise ValueError("a column of the trees is made of one that does not exist")

    def __call__(self, rows: Rows) -> Rows:
        """The rows with the derived columns."""
        if rows.shape[1] != self.width:
            raise ValueError(f"the trees take {self.width} columns, not {rows.shape[1]}")
        wide = np.empty((len(rows), self.width + len(self.source)))
        wide[:, : self.width] = rows
        for column in self._coded:
            wide[:, column] = self.code(int(column), rows[:, column])
        for group, at in self._groups:
            wide[:, self.width + at] = self._derive(group, at, wide[:, self.source[at]])
        return wide

    def code(self, column: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values of one of the row's columns as the trees get them."""
        for at in np.flatnonzero(self._coded == column):
            place = self._known[at].searchsorted(values).clip(max=self._known.shape[1] - 1)
            found = (self._known[at].take(place) == values) & np.isfinite(values)
            values = np.where(found, self._codes[at].take(place), np.nan)
        return values

    def derive(self, derived: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values of one derived column, made of those of its source."""
        at = np.array([derived])
        column: NDArray[np.float64] = self._derive(int(self.kind[derived]), at, values[:, np.newaxis])[:, 0]
        return column

    def _derive(self, group: int, at: NDArray[np.intp], values: Rows) -> Rows:
        if group == MISSING_AS_ZERO:
            return np.where(np.isnan(values), 0.0, values)
        if group == IN_SET:
            last = self._sets.shape[1] - 2
            inside = (values > self._lowest) & (values < last)
            code = np.where(inside, values, last).astype(np.intp)
            code[np.isnan(values)] = last + 1
            right: Rows = self._sets[self._member[at], code].astype(np.float64)
            return right
        zero = np.isnan(values) | (np.abs(values) <= NEARLY_ZERO)
        return np.where(zero, -np.inf if group == ZERO_LEFT else np.inf, values)

    def breaks(self, column: int, thresholds: dict[int, NDArray[np.float64]]) -> NDArray[np.float64]:
        """The values of one of the row's columns at which a node's answer changes, sorted.

        `thresholds` are those of the nodes that ask for this column, or for one made of it, by the number of that
        column. All values above one break and not above the next get the same answers.
        """
        if len(coded := np.flatnonzero(self._coded == column)):
            known = self._known[coded[0]]
            known = known[np.isfinite(known)]
            return np.unique(np.concatenate([known, np.nextafter(known, -np.inf)]))
        parts = [np.empty(0)]
        for asked, above in thresholds.items():
            kind = None if asked < self.width else int(self.kind[asked - self.width])
            if kind == IN_SET:
                ends = np.arange(1.0, self._sets.shape[1] - 1)
                parts += [np.array([self._lowest]), np.nextafter(ends, -np.inf)]
            else:
                parts.append(above)
            if kind in (ZERO_LEFT, ZERO_RIGHT):
                parts.append(np.array([np.nextafter(-NEARLY_ZERO, -np.inf), NEARLY_ZERO]))
        return np.unique(np.concatenate(parts))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "width": np.array(self.width),
            "source": self.source,
            "kind": self.kind,
            "member": self._member,
            "sets": self._sets,
            "lowest": np.array(self._lowest),
            "coded": self._coded,
            "known": self._known,
            "codes": self._codes,
        }

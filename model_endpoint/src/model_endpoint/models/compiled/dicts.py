"""The columns of 0, 1 and numbers that a vectorizer of dicts makes. Runs in the build and in a worker."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from model_endpoint.models.compiled.checks import WIDEST, require
from model_endpoint.models.compiled.nodes import Step
from model_endpoint.models.compiled.tables import Sparse, Table, columns_of

LONGEST = 10_000
Known = tuple[dict[str, int], int | None]


@dataclass(slots=True)
class OfDicts(Step):
    """A column for each of `features`: of a key's numbers, or of 1 for a key's text after `separator`.

    `keys` name the columns that it gets; a gap there is a key that is not in the dict.
    """

    keys: list[str]
    features: list[str]
    separator: str
    sparse: bool
    _known: list[Known] = field(init=False)

    def __post_init__(self) -> None:
        numbers = {key: at for at, key in enumerate(self.keys)}
        self._known = [({}, None) for _ in self.keys]
        for place, feature in enumerate(self.features):
            require(len(feature) <= LONGEST, f"the name of a feature has {len(feature)} letters")
            if feature in numbers:
                at = numbers[feature]
                self._known[at] = (self._known[at][0], place)
            end = feature.find(self.separator)
            while end >= 0:  # a key may have the separator in it
                if (key := feature[:end]) in numbers:
                    self._known[numbers[key]][0][feature[end + len(self.separator) :]] = place
                end = feature.find(self.separator, end + 1)

    def __call__(self, table: Table) -> Table:
        columns = columns_of(table)
        rows: list[int] = []
        places: list[int] = []
        values: list[float] = []
        for column, (texts, numbers) in zip(columns, self._known, strict=True):
            for row, value in enumerate(column.tolist()):
                if value is None or value != value:
                    continue
                at = texts.get(value) if isinstance(value, str) else numbers
                if at is not None:
                    rows.append(row)
                    places.append(at)
                    values.append(1.0 if isinstance(value, str) else float(value))
        row_of, place_of = np.array(rows, dtype=np.int64), np.array(places, dtype=np.int64)
        number = np.array(values, dtype=np.float64)
        if not self.sparse:
            matrix = np.zeros((len(columns[0]), len(self.features)))
            np.add.at(matrix, (row_of, place_of), number)  # two keys may make one feature
            return matrix
        order = np.lexsort((place_of, row_of))
        return Sparse(row_of[order], place_of[order], number[order], len(columns[0]), len(self.features))

    def width(self, columns: int) -> int:
        require(len(self.keys) == columns > 0, "keys of other columns")
        require(0 < len(self.features) <= WIDEST, f"{len(self.features)} features of dicts")
        return len(self.features)

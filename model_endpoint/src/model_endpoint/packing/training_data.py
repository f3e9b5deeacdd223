"""The training data in the forms that an estimator may have been fitted on. Runs where models are packed."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.card import Card
from model_endpoint.models.contract import ARRAY, DICTS, FRAME, TEXTS, Cell
from model_endpoint.models.errors import BundleError

Index = NDArray[np.intp]
TYPES = {"number": "float64", "integer": "Int64", "boolean": "bool", "category": "category", "datetime": None}


class TrainingData:
    """A data frame or an array, with what makes the estimator's own input of some of its rows.

    `forms` are the forms that the data itself allows, the first of them the one that it was given in.
    """

    def __init__(self, table: Any, names: list[str], forms: list[str]) -> None:
        self.table = table
        self.names = names
        self.forms = forms

    def __len__(self) -> int:
        return len(self.table)

    @property
    def width(self) -> int:
        return len(self.names)

    @property
    def is_frame(self) -> bool:
        return hasattr(self.table, "iloc")

    def column(self, at: int) -> Any:
        """A column, as a series of a frame or as an array."""
        return self.table.iloc[:, at] if self.is_frame else self.table[:, at]

    def missing(self, at: int) -> NDArray[np.bool_]:
        """Which rows of a column have no value."""
        column = self.column(at)
        if self.is_frame:
            return np.asarray(column.isna())
        if column.dtype.kind == "f":
            return np.asarray(np.isnan(column))
        return np.array([value is None or value != value for value in column.tolist()], dtype=bool)

    def mix(self, rows: Index) -> TrainingData:
        """New rows of values of the data: `rows`, of shape (n, columns), says for each the row it comes from."""
        if not self.is_frame:
            return TrainingData(np.take_along_axis(self.table, rows, axis=0), self.names, self.forms)
        import pandas

        columns = {
            name: self.column(at).take(rows[:, at]).reset_index(drop=True)
            for at, name in enumerate(self.names)
        }
        return TrainingData(pandas.DataFrame(columns), self.names, self.forms)

    def take(self, rows: Index) -> TrainingData:
        """Some of the rows."""
        part = self.table.iloc[rows].reset_index(drop=True) if self.is_frame else self.table[rows]
        return TrainingData(part, self.names, self.forms)

    def with_type(self, at: int, dtype: Any) -> TrainingData:
        """The same data with another type of one column of the frame."""
        table = self.table.assign(**{self.names[at]: self.column(at).astype(dtype)})
        return TrainingData(table, self.names, self.forms)

    def put(self, at: int, row: int, value: Any) -> None:
        """Set one value; None for a missing one."""
        if self.is_frame:
            self.table.iloc[row, at] = value
        else:
            self.table[row, at] = np.nan if value is None and self.table.dtype.kind == "f" else value

    def given(self, form: str, dtype: str = "float64") -> Any:
        """The rows in one form, as an estimator gets them."""
        if form == FRAME or (form == ARRAY and not self.is_frame):
            return self.table
        if form == ARRAY:
            return self.table.to_numpy(dtype=dtype)
        if form == TEXTS:
            return self.column(0).tolist()
        return [
            {name: value for name, value in record.items() if not _is_missing(value)}
            for record in self.table.astype(object).to_dict("records")
        ]

    def cells(self, at: int) -> list[Cell]:
        """The values of a column as a request has them."""
        column = self.column(at)
        values = column.astype(object).tolist() if self.is_frame else column.tolist()
        return [_cell(value) for value in values]

    def firsts(self, at: int) -> dict[Cell, int]:
        """The values of a column, each with the first row that has it."""
        if self.is_frame:
            index = self.column(at).drop_duplicates().index.to_numpy()
            return dict(zip(self.take(index).cells(at), index.tolist(), strict=True))
        cells = self.cells(at)
        return {cell: row for row, cell in reversed(list(enumerate(cells)))}

    def numbers(self, at: int) -> NDArray[np.float64]:
        """The values of a column of numbers, without missing ones."""
        held = self.column(at)[~self.missing(at)]
        return np.asarray(held.to_numpy(np.float64) if self.is_frame else held.astype(np.float64))

    def tally(self, at: int) -> dict[Cell, int]:
        """The values of a column but missing ones, each with the number of its rows."""
        if not self.is_frame:
            return Counter(cell for cell in self.cells(at) if cell is not None)
        counts = self.column(at).value_counts()
        return {_cell(value): int(count) for value, count in zip(counts.index, counts, strict=True)}

    def sha256(self) -> str:
        """The SHA-256 of the data: of an array of numbers its bytes, of any other names and values."""
        if not self.is_frame and self.table.dtype != object:
            return hashlib.sha256(np.ascontiguousarray(self.table).tobytes()).hexdigest()
        digest = hashlib.sha256()
        for at, name in enumerate(self.names):
            digest.update(name.encode() + b"\0")
            column = self.column(at)
            if self.is_frame and isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiubM":
                digest.update(column.to_numpy().tobytes())
            else:
                digest.update(json.dumps(self.cells(at)).encode())
        return digest.hexdigest()

    def rows(self, card: Card) -> list[Any]:
        """The rows as a request has them; plain texts, objects or arrays of values."""
        columns = [self.cells(at) for at in range(self.width)]
        if card.form == TEXTS:
            return list(columns[0])
        if card.form == DICTS:
            records = [dict(zip(self.names, row, strict=True)) for row in zip(*columns, strict=True)]
            return [
                {name: value for name, value in record.items() if value is not None} for record in records
            ]
        return [list(row) for row in zip(*columns, strict=True)]


def read(data: Any, fitted: list[str] | None, types: Mapping[str, str]) -> TrainingData:
    """Read what a data scientist has: a data frame, an array, a list of texts or of dicts.

    `fitted` are the names that the estimator knows; the columns are brought into their order. `types` are types of
    columns by name that the data itself has otherwise. Raises BundleError.
    """
    if not hasattr(data, "columns"):
        if isinstance(data, list | tuple) and data and all(isinstance(item, str | dict) for item in data):
            return _of_list(list(data), types)
        if hasattr(data, "tolist") and np.ndim(data) == 1 and len(data) and isinstance(data.tolist()[0], str):
            return _of_list(data.tolist(), types)
        return _of_array(data, fitted)
    if not hasattr(data, "iloc"):
        raise BundleError(
            f"the data is a {type(data).__name__}; give a pandas data frame, for example by to_pandas()"
        )
    if 0 in data.shape:
        raise BundleError(
            f"the data has {data.shape[0]} rows and {data.shape[1]} columns; give at least one of each"
        )
    frame = data.set_axis([str(name) for name in data.columns], axis=1).reset_index(drop=True)
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise BundleError(
            f"two columns of the data have the name {repeated[0]!r}; give each a name of its own"
        )
    frame = _in_order(frame, fitted)
    for column, kind in types.items():
        if column not in frame:
            raise BundleError(f"--type {column}={kind}: the data has no such column")
        frame = frame.assign(**{column: as_type(frame[column], kind)})
    # An estimator that knows names was fitted on a frame; any other form may be answered, and answered wrong.
    forms = [FRAME, TEXTS, DICTS, ARRAY] if fitted is None else [FRAME]
    return TrainingData(frame, list(frame.columns), forms)


def as_type(column: Any, kind: str) -> Any:
    """A column of a frame in the type that `--type` names. Raises BundleError."""
    import pandas

    letter = getattr(column.dtype, "kind", "O")
    if (kind, letter) in (
        ("number", "f"),
        ("integer", "i"),
        ("integer", "u"),
        ("boolean", "b"),
        ("datetime", "M"),
    ):
        return column
    if kind not in ("string", *TYPES):
        raise BundleError(
            f"--type {column.name}={kind}: the type must be one of {', '.join(['string', *TYPES])}"
        )
    try:
        if kind == "string" and isinstance(column.dtype, pandas.StringDtype):
            return column
        if kind == "string":
            gaps = column.isna()
            return column.astype(str).where(~gaps, None if column.dtype == object else np.nan)
        if kind == "datetime":
            return pandas.to_datetime(column)
        if kind == "integer" and not column.isna().any():
            return column.astype("int64")
        return column.astype(TYPES[kind])
    except (ValueError, TypeError, OverflowError) as error:
        raise BundleError(f"--type {column.name}={kind}: the column has another value: {error}") from None


def _of_list(items: list[Any], types: Mapping[str, str]) -> TrainingData:
    import pandas

    if isinstance(items[0], str):
        frame = pandas.DataFrame({"": pandas.Series(items, dtype=object)})
        return TrainingData(frame, [""], [TEXTS])
    for key in dict.fromkeys(key for item in items for key in item):
        if not isinstance(key, str):
            raise BundleError(
                f"the dicts have the key {key!r} of type {type(key).__name__}, and a request's keys are texts; fit the "
                f"model with the key {str(key)!r}"
            )
    frame = pandas.DataFrame.from_records(items)
    for column, kind in types.items():
        frame[column] = as_type(frame[column], kind)
    return TrainingData(frame, [str(name) for name in frame.columns], [DICTS])


def _of_array(data: Any, fitted: list[str] | None) -> TrainingData:
    try:
        array = np.asarray(data)
        if array.dtype.kind in "iub" and array.ndim == 2:
            exact = np.abs(array.astype(np.float64)) <= 2**53
            array = array.astype(np.float64) if exact.all() else array
        if array.dtype.kind in "OU":
            array = array.astype(object)
        elif array.dtype.kind not in "iuf":
            raise ValueError(f"it is of type {array.dtype}")
    except (ValueError, TypeError) as error:
        raise BundleError(f"the data is no table: {error}; give a data frame or an array of rows") from None
    if array.ndim != 2 or 0 in array.shape:
        raise BundleError(f"the data must have the shape (rows, columns), not {array.shape}")
    names = [f"x{at}" for at in range(array.shape[1])]
    if fitted is not None and len(fitted) == len(names):
        names = fitted
    if len(set(names)) < len(names):
        raise BundleError("two columns of the model have the same name; rename one and fit it again")
    return TrainingData(array, names, [ARRAY])


def _in_order(frame: Any, fitted: list[str] | None) -> Any:
    """The frame with its columns in the order that the estimator was fitted on. Raises BundleError."""
    if fitted is None or list(frame.columns) == fitted:
        return frame
    missing = [name for name in fitted if name not in frame]
    added = [name for name in frame.columns if name not in fitted]
    if missing:
        raise BundleError(f"the data has no column {missing[0]!r}, which the model was fitted on")
    if added:
        raise BundleError(
            f"the model was not fitted on the column {added[0]!r}; leave it out: --drop {added[0]}"
        )
    return frame[fitted]


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or bool(value != value)


def _cell(value: Any) -> Cell:
    """A value as a request has it."""
    if _is_missing(value):
        return None
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    plain: Cell = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and math.isinf(plain):
        raise BundleError(
            f"the data has the value {plain}, which no request can send; replace it before training"
        )
    return plain

"""Read training data: CSV, JSON lines, parquet, feather and .npy. Runs where models are packed.

What is read is a pandas frame with the types that pandas gives the same file, apart from two: a column in which a
number begins with a zero (`01067`) is text, and a column of ISO dates is one of dates.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model_endpoint.models.errors import BundleError
from model_endpoint.packing.csv_files import CsvFile, UnreadableError

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 5  # column names that an error lists
DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")
TEXT_TYPES = ("string", "category")


def read_table(
    path: Path, separator: str | None = None, index: bool = False, types: Mapping[str, str] | None = None
) -> Any:
    """The rows of the file at `path` as a data frame, or as an array for .npy.

    A CSV's `separator` is taken from its header if it is not given. `index` says that the first column only numbers
    the rows. `types` gives columns' types by name: one that is string or category stays text. Raises BundleError.
    """
    if not path.is_file():
        raise BundleError(f"{path}: there is no such file; give the training data")
    form = (Path(path.stem).suffix if path.suffix == ".gz" else path.suffix).lower()
    if form == ".npy":
        return _read_array(path)
    reader = READERS.get(form)
    if reader is None:
        raise BundleError(f"{path}: its form is unknown; give {', '.join(READERS)} or .npy")
    kept_as_text = {name for name, given in (types or {}).items() if given in TEXT_TYPES}
    try:
        frame = reader(path, separator, kept_as_text)
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except (UnreadableError, ValueError, OSError, EOFError) as error:
        raise BundleError(f"{path}: it can't be read: {' '.join(str(error).split())[:300]}") from None
    if index:
        frame = frame.iloc[:, 1:]
    columns = [str(name) for name in frame.columns]
    if repeated := [name for at, name in enumerate(columns) if name in columns[:at]]:
        raise BundleError(f"{path}: two columns have the name {repeated[0]!r}; give each a name of its own")
    if not columns or not len(frame):
        raise BundleError(
            f"{path}: it has {len(frame)} rows of {len(columns)} columns; give the rows of training"
        )
    return frame.reset_index(drop=True)


def drop_columns(data: Any, names: list[str], path: Path) -> Any:
    """`data` without the columns that `names` lists. Raises BundleError for one that it has not."""
    if not names:
        return data
    if not hasattr(data, "columns"):
        raise BundleError(
            f"{path}: an array has no column {names[0]!r} to drop; leave the column out of the array"
        )
    columns = [str(name) for name in data.columns]
    if missing := [name for name in names if name not in columns]:
        shown = ", ".join(columns[:SHOWN]) + (
            f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
        )
        raise BundleError(f"{path} has no column {missing[0]!r} to drop; its columns are {shown}")
    return data[[name for name in data.columns if str(name) not in names]]


def _read_array(path: Path) -> Any:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return np.load(file, allow_pickle=False)
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BundleError(f"{path}: it can't be read as an array: {error}; save it with numpy.save") from None


def _import_pandas(path: Path) -> Any:
    try:
        import pandas
    except ImportError:
        raise BundleError(
            f"{path}: only pandas reads it, which is not installed; pip install pandas"
        ) from None
    return pandas


def _read_csv(path: Path, separator: str | None, kept_as_text: set[str]) -> pd.DataFrame:
    pandas = _import_pandas(path)
    frame = CsvFile(pandas, path, separator).read(kept_as_text)
    return _with_dates(pandas, frame, kept_as_text)


def _read_json_lines(path: Path, separator: str | None, kept_as_text: set[str]) -> pd.DataFrame:  # noqa: ARG001
    pandas = _import_pandas(path)
    rows = []
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as file
    ):
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UnreadableError(
                    f"line {number} is no JSON: {error}; write one JSON object a line"
                ) from None
            if not isinstance(row, dict):
                raise UnreadableError(f"line {number} holds no object; write one JSON object a line")
            rows.append(row)
    return _with_dates(pandas, pandas.DataFrame(rows), kept_as_text)


def _read_json(path: Path, separator: str | None, kept_as_text: set[str]) -> pd.DataFrame:  # noqa: ARG001
    """An example of MLflow: a frame by rows (`split`) or as records, or an array."""
    pandas = _import_pandas(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, dict) and {"columns", "data"} <= content.keys():
        return _with_dates(
            pandas, pandas.DataFrame(content["data"], columns=content["columns"]), kept_as_text
        )
    rows = content.get("inputs") if isinstance(content, dict) else content
    if isinstance(rows, list):
        return _with_dates(pandas, pandas.DataFrame(rows), kept_as_text)
    raise UnreadableError(
        "it holds neither columns with data nor a list of rows; give the training data: --data FILE"
    )


def _read_columns(path: Path, separator: str | None, kept_as_text: set[str]) -> pd.DataFrame:  # noqa: ARG001
    pandas = _import_pandas(path)
    read = pandas.read_feather if path.suffix == ".feather" else pandas.read_parquet
    try:
        return read(path)
    except ImportError:
        raise BundleError(
            f"{path}: only pyarrow reads it, which is not installed; pip install pyarrow"
        ) from None
    except Exception as error:  # pyarrow has errors of its own
        raise UnreadableError(f"{error}; write it with DataFrame.to_parquet or to_feather") from None


READERS: dict[str, Callable[[Path, str | None, set[str]], Any]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".txt": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_columns,
    ".feather": _read_columns,
}


def _with_dates(pandas: Any, frame: pd.DataFrame, kept_as_text: set[str]) -> pd.DataFrame:
    """`frame` with every column of text in which each cell is an ISO date as a column of dates."""
    for name in frame.columns:
        column = frame[name]
        if str(name) in kept_as_text or not (
            column.dtype == object or pandas.api.types.is_string_dtype(column)
        ):
            continue
        held = column.dropna()
        if not len(held) or not all(
            isinstance(cell, str) and DATE.fullmatch(cell) for cell in held.iloc[:100]
        ):
            continue
        try:
            frame[name] = pandas.to_datetime(column, format="ISO8601")
        except (
            ValueError
        ):  # a later cell is none, or the dates have several time zones: the column stays text
            continue
    return frame

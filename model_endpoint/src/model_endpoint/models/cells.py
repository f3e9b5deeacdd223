"""Turn the values of one column into an array, by the column's contract. Runs in the build and in a worker.

JSON's values, the texts of CSV's cells and the arrays of binary tensors all become the same arrays. A value that the
column does not take is refused with its place, what it is, and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from model_endpoint.models.contract import NOT_TAKEN, Feature
from model_endpoint.models.errors import RequestError, quoted

Place = Callable[[int], str]
"""Names a value in an error, by its row."""

MAX_SAFE_INTEGER = 2**53  # a float64 can't hold every integer above it
SHOWN = 10  # categories that an error lists
NUMBERS = frozenset({int, float})
DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII
)
TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # in a second, by the unit of numpy's dates
BOOLEANS = {"true": True, "false": False, "True": True, "False": False, "TRUE": True, "FALSE": False}
NUMPY_NAMES = {"Int": "int", "UInt": "uint", "Float": "float"}  # of pandas' types that hold missing values


def kind(value: Any) -> str:
    """The type of a JSON value, in JSON's words."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def shown(value: Any) -> str:
    """A value that is refused, with its type where the value alone would not tell."""
    if type(value) in (dict, list, type(None)):
        return kind(value)
    if type(value) is bool:
        return "true" if value else "false"
    return f"a string ({quoted(value)})" if type(value) is str else quoted(value)


def read(feature: Feature, values: Sequence[Any], place: Place) -> NDArray[Any]:
    """Make the column's array of JSON values. Raises RequestError, which names the first wrong value."""
    if not feature.missing and None in values:
        at = next(at for at, value in enumerate(values) if value is None)
        raise RequestError(
            f"{place(at)} must be {allowed(feature)}, not null; training had no missing values there"
        )
    if feature.type == "category" or feature.unknown == NOT_TAKEN:
        values = _choices(feature, values, place)
    return _READERS[feature.takes](feature, values, place)


def read_texts(feature: Feature, texts: Sequence[str], place: Place) -> NDArray[Any]:
    """Make the column's array of CSV's cells, of which an empty one is a missing value. Raises RequestError."""
    parse = _parse_text if _value_type(feature) is not str else _same
    values: list[Any] = []
    for at, text in enumerate(texts):
        if text:
            values.append(parse(feature, text, at, place))
        elif feature.missing:
            values.append(None)
        else:
            raise RequestError(
                f"{place(at)} is empty and must be {allowed(feature)}; training had no missing values there"
            )
    return read(feature, values, place)


def read_array(feature: Feature, array: NDArray[Any], place: Place) -> NDArray[Any]:
    """Make the column's array of a tensor's numbers or booleans, in which NaN is a missing value.

    Raises RequestError.
    """
    if feature.type == "number" and array.dtype.kind == "f" and feature.categories is None:
        numbers = array.astype(np.float64)
        wrong = np.isinf(numbers) if feature.missing else ~np.isfinite(numbers)
        if wrong.any():
            at = int(wrong.argmax())
            raise RequestError(f"{place(at)} must be {allowed(feature)}, not {array[at]}")
        return _narrowed(feature, numbers, place)
    values = array.tolist()
    if array.dtype.kind == "f":
        values = [None if value != value else value for value in values]
        for at, value in enumerate(values):
            if value in (np.inf, -np.inf):
                raise RequestError(f"{place(at)} must be {allowed(feature)}, not {value}")
    return read(feature, values, place)


def allowed(feature: Feature) -> str:
    """What a column takes, for an error."""
    words = {
        "number": "a number",
        "integer": "a whole number",
        "boolean": "true or false",
        "string": "a string",
        "category": "one of its categories",
        "datetime": "a date as RFC 3339 has it, such as 2024-01-31T08:30:00Z",
    }[feature.takes]
    if feature.categories is not None and (feature.type == "category" or feature.unknown == NOT_TAKEN):
        first = ", ".join(repr(value) for value in feature.categories[:SHOWN])
        all_of_them = f"one of {first}" + (", ..." if len(feature.categories) > SHOWN else "")
        words = (
            all_of_them if feature.unknown == NOT_TAKEN else f"{_kind_of_category(feature)}, such as {first}"
        )
    return f"{words} or null" if feature.missing else words


def unknown(feature: Feature, array: NDArray[Any]) -> list[int]:
    """The rows whose value is none of the categories that the estimator knows."""
    known = feature.known
    return [
        at
        for at, value in enumerate(array.tolist())
        if value not in known and value is not None and value == value
    ]


def _value_type(feature: Feature) -> type:
    """The Python type of the column's values: for a category that of its categories."""
    if feature.type == "category":
        kinds = {type(value) for value in feature.categories or [""]}
        return kinds.pop() if len(kinds) == 1 else float
    return {"number": float, "integer": int, "boolean": bool, "string": str, "datetime": str}[feature.type]


def _kind_of_category(feature: Feature) -> str:
    return {str: "a string", bool: "true or false"}.get(_value_type(feature), "a number")


def _choices(feature: Feature, values: Sequence[Any], place: Place) -> Sequence[Any]:
    """The values as the categories have them, 3.0 as 3 for one; refuses a wrong type, and an unknown one if it must."""
    wanted = _value_type(feature)
    right = NUMBERS if wanted in (int, float) else frozenset({wanted})
    known = {value: value for value in feature.categories or []}
    found = []
    for at, value in enumerate(values):
        if value is not None and (
            type(value) not in right or (feature.unknown == NOT_TAKEN and value not in known)
        ):
            raise RequestError(f"{place(at)} must be {allowed(feature)}, not {shown(value)}")
        found.append(known.get(value, value))
    return found


def _refuse_others(feature: Feature, values: Sequence[Any], right: frozenset[type], place: Place) -> None:
    if set(map(type, values)) <= right:
        return
    for at, value in enumerate(values):
        if type(value) not in right and value is not None:
            raise RequestError(f"{place(at)} must be {allowed(feature)}, not {shown(value)}")


def _numbers(feature: Feature, values: Sequence[Any], place: Place) -> NDArray[Any]:
    _refuse_others(feature, values, NUMBERS, place)
    for at, value in enumerate(values):
        if type(value) is int and not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
            raise RequestError(f"{place(at)}: {quoted(value)} is beyond 2^53 and would lose digits")
    return _narrowed(feature, np.array(values, dtype=np.float64), place)


def _narrowed(feature: Feature, numbers: NDArray[np.float64], place: Place) -> NDArray[Any]:
    """The numbers in the column's width; refuses one that is too large for it."""
    dtype = numpy_dtype(feature)
    if dtype.itemsize == 8 or dtype.kind != "f":
        return numbers
    with np.errstate(over="ignore"):
        narrow = numbers.astype(dtype)
    wrong = np.isinf(narrow)
    if wrong.any():
        at = int(wrong.argmax())
        raise RequestError(f"{place(at)}: {numbers[at]:g} is out of {dtype.name}'s range")
    return narrow


def _integers(feature: Feature, values: Sequence[Any], place: Place) -> NDArray[Any]:
    _refuse_others(feature, values, NUMBERS, place)
    dtype = numpy_dtype(feature)
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.iinfo(np.int64)
    whole: list[int | None] = []
    for at, value in enumerate(values):
        if type(value) is float and (value != int(value) or abs(value) > MAX_SAFE_INTEGER):
            raise RequestError(f"{place(at)} must be {allowed(feature)}, not {value!r}")
        if value is not None and not limits.min <= value <= limits.max:
            raise RequestError(f"{place(at)}: {quoted(value)} is beyond {limits.min} to {limits.max}")
        whole.append(None if value is None else int(value))
    return np.array(whole, dtype=object if None in values or dtype.kind not in "iu" else dtype)


def _booleans(feature: Feature, values: Sequence[Any], place: Place) -> NDArray[Any]:
    _refuse_others(feature, values, frozenset({bool}), place)
    return np.array(values, dtype=object if None in values else bool)


def _strings(feature: Feature, values: Sequence[Any], place: Place) -> NDArray[Any]:
    _refuse_others(feature, values, frozenset({str}), place)
    return _objects(feature, values, place)


def _dates(feature: Feature, values: Sequence[Any], place: Place) -> NDArray[Any]:
    _refuse_others(feature, values, frozenset({str}), place)
    unit, _, zone = (
        (feature.dtype or "datetime64[ns]").removeprefix("datetime64[").removesuffix("]").partition(", ")
    )
    return np.array(
        [_date(feature, text, unit, zone, place(at)) for at, text in enumerate(values)], f"M8[{unit}]"
    )


def _date(feature: Feature, text: str | None, unit: str, zone: str, where: str) -> Any:
    if text is None:
        return np.datetime64("NaT")
    found = DATE.fullmatch(text)
    offset = found[4] if found else None
    if not found or (zone and not offset):
        more = " with its offset" if zone and found else ""
        raise RequestError(f"{where} must be {allowed(feature)}{more}, not {quoted(text)}")
    if offset and not zone and offset not in ("Z", "z", "+00:00", "-00:00"):
        raise RequestError(
            f"{where}: {quoted(text)} has an offset, and training's dates have none; send it in UTC"
        )
    try:
        return np.array(_ticks(found, unit)).view(f"M8[{unit}]")[()]
    except ValueError:
        raise RequestError(
            f"{where}: {quoted(text)} is no date that {feature.dtype or 'datetime64[ns]'} can hold"
        ) from None


def _ticks(found: re.Match[str], unit: str) -> int:
    """A date in units since 1970, counted in Python's integers, since numpy's overflow without a word.

    Raises ValueError for a day or hour that there is not, and for what the unit can't hold.
    """
    day, time, fraction, offset = found.groups()
    seconds = int(np.datetime64(f"{day}T{time or '00:00:00'}", "s").astype(np.int64)) - _seconds_of(offset)
    ticks, rest = divmod(int((fraction or "").ljust(9, "0")) * TICKS[unit], 10**9)
    ticks += seconds * TICKS[unit]
    if rest or not -(2**63) < ticks < 2**63:
        raise ValueError
    return ticks


def _seconds_of(offset: str | None) -> int:
    """An offset from UTC in seconds. Raises ValueError for one that RFC 3339 does not have."""
    if not offset or offset in "Zz":
        return 0
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(offset)
    return (-60 if offset[0] == "-" else 60) * (hours * 60 + minutes)


def _objects(feature: Feature, values: Sequence[Any], place: Place) -> NDArray[Any]:  # noqa: ARG001 - of a reader
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def numpy_dtype(feature: Feature) -> np.dtype[Any]:
    """The column's type in numpy's words: Int64 is int64; object for a type that numpy does not have."""
    return _numpy_dtype(feature.dtype or "float64")


@cache
def _numpy_dtype(name: str) -> np.dtype[Any]:
    for pandas, numpy in NUMPY_NAMES.items():
        if name.startswith(pandas):
            return np.dtype(numpy + name.removeprefix(pandas))
    try:
        return np.dtype(name)
    except TypeError:
        return np.dtype(object)


def _same(feature: Feature, text: str, at: int, place: Place) -> Any:  # noqa: ARG001 - the interface of a parser
    return text


def _parse_text(feature: Feature, text: str, at: int, place: Place) -> Any:
    """Parse a cell as JSON, which refuses forms that Python's float would take: nan, inf, 1_000, blanks."""
    if _value_type(feature) is bool:
        return BOOLEANS.get(text, text)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if value is None:  # a missing value is an empty cell, and never the word null
        raise RequestError(f"{place(at)} must be {allowed(feature)}, not {quoted(text)}")
    # orjson makes a float of an integer beyond 64 bits.
    return int(text) if type(value) is float and text.strip().removeprefix("-").isdecimal() else value


_READERS: dict[str, Callable[[Feature, Sequence[Any], Place], NDArray[Any]]] = {
    "number": _numbers,
    "integer": _integers,
    "boolean": _booleans,
    "string": _strings,
    "category": _objects,
    "datetime": _dates,
}

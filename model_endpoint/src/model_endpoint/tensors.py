"""Numbers in JSON and in binary tensors to rows, and outputs back."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from model_endpoint.errors import RequestError
from model_endpoint.predictors import Rows

EXACT = 2**53  # beyond it a float64 can't hold every integer
# Datatypes of the protocol that a feature can be given in, little-endian as in the binary extension.
NUMBERS: dict[str, np.dtype[Any]] = {
    "FP64": np.dtype("<f8"),
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
}
FLOATS = frozenset({float})
INTEGERS = frozenset({int})
EITHER = frozenset({int, float})


def parse(body: bytes) -> dict[str, Any]:
    """Parse a JSON object; NaN, infinities, invalid UTF-8 and what overflows a double are refused by orjson.

    Raises RequestError.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}") from None
    if type(value) is not dict:
        raise RequestError(f"the body must be a JSON object, not {kind(value)}")
    return value


def kind(value: Any) -> str:
    """What a JSON value is, in JSON's words."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def shown(value: Any) -> str:
    """A value of a request as an error quotes it: cut short, so that answers don't grow with what came in."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def rows_from_nested(rows: Any, width: int, where: str) -> Rows:
    """Make rows of shape (n, width) from n lists of numbers. Raises RequestError naming the place."""
    if type(rows) is not list:
        raise RequestError(f"{where}: it must be an array of rows, not {kind(rows)}")
    if not rows:
        raise RequestError(f"{where}: it is empty; give at least one row")
    flat: list[Any] = []
    for index, row in enumerate(rows):
        if type(row) is not list:
            raise RequestError(
                f"{where}[{index}]: a row must be an array of {width} numbers, not {kind(row)}"
            )
        if len(row) != width:
            raise RequestError(f"{where}[{index}]: it has {len(row)} values, the model takes {width}")
        flat += row
    return numbers(flat, width, where + "[{row}][{column}]").reshape(len(rows), width)


def numbers(values: list[Any], width: int, where: str, allowed: frozenset[type] = EITHER) -> Rows:
    """Make a flat float64 array of finite JSON numbers.

    `where` names the value at fault once `{row}`, `{column}` or `{index}` is filled in. Raises RequestError.
    """
    kinds = set(map(type, values))
    if kinds == FLOATS and allowed is EITHER:  # the usual request; orjson lets no infinity through
        return np.array(values)
    if not kinds <= allowed:
        wanted = "a number" if allowed is EITHER else "a whole number"
        at = next(at for at, value in enumerate(values) if type(value) not in allowed)
        found = shown(values[at]) if type(values[at]) is float else kind(values[at])
        raise RequestError(f"{_place(where, at, width)}: it must be {wanted}, not {found}")
    for at, value in enumerate(values):
        if type(value) is int and not -EXACT <= value <= EXACT:
            raise RequestError(f"{_place(where, at, width)}: {value} is beyond 2^53 and would lose digits")
    return np.array(values, dtype=np.float64)


def rows_from_json(data: Any, datatype: str, shape: list[int], where: str) -> Rows:
    """Make rows of a tensor's `data`, flat or nested, which must fit its shape (n, width) and its datatype.

    Raises RequestError naming the place.
    """
    if type(data) is not list:
        raise RequestError(f"{where}: it must be an array, not {kind(data)}")
    count, width = shape
    place = where + "[{index}]"
    if data and type(data[0]) is list:
        if len(data) != count:
            raise RequestError(f"{where}: it has {len(data)} rows, the shape {shape} needs {count}")
        place = where + "[{row}][{column}]"
        for index, row in enumerate(data):
            if type(row) is not list or len(row) != width:
                raise RequestError(f"{where}[{index}]: it must be a row of {width} values")
        data = [value for row in data for value in row]
    if len(data) != prod(shape):
        raise RequestError(f"{where}: it has {len(data)} values, the shape {shape} needs {prod(shape)}")
    if datatype == "FP64":
        return numbers(data, width, place).reshape(count, width)
    dtype = NUMBERS[datatype]
    rows = numbers(data, width, place, EITHER if dtype.kind == "f" else INTEGERS)
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    outside = (rows < float(limits.min)) | (rows > float(limits.max))
    if outside.any():
        at = int(outside.argmax())
        raise RequestError(f"{_place(place, at, width)}: {rows[at]:g} is beyond {datatype}")
    return rows.astype(dtype).astype(np.float64).reshape(count, width)


def rows_from_binary(data: memoryview, datatype: str, shape: list[int], where: str) -> Rows:
    """Make rows of a binary tensor. Raises RequestError for a wrong size or value."""
    dtype = NUMBERS[datatype]
    if len(data) != (needed := prod(shape) * dtype.itemsize):
        raise RequestError(
            f"{where}: it has {len(data)} bytes, the shape {shape} of {datatype} needs {needed}"
        )
    values = np.frombuffer(data, dtype)
    rows: Rows = values.astype(np.float64)
    if dtype.kind == "f":
        wrong, reason = ~np.isfinite(rows), "not a finite number"
    else:  # only 64-bit integers can be beyond it
        wrong, reason = np.abs(rows) > EXACT, "beyond 2^53 and would lose digits"
    if wrong.any():
        at = int(wrong.argmax())
        raise RequestError(f"{where}: value {at} is {values[at]}, {reason}")
    return rows.reshape(shape)


def to_binary(array: NDArray[Any], datatype: str) -> bytes:
    """An output in the binary extension's form: little-endian, BYTES elements each after their length."""
    if datatype != "BYTES":
        kind_of = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}[datatype]
        return array.astype(kind_of).tobytes()
    texts = [str(element).encode() for element in array.ravel().tolist()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _place(where: str, at: int, width: int) -> str:
    return where.format(row=at // width, column=at % width, index=at)

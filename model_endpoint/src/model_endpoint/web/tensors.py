"""Turn numbers in JSON and in binary tensors into rows, and outputs into binary tensors. Runs in a worker."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.cells import MAX_SAFE_INTEGER, kind
from model_endpoint.models.errors import RequestError, quoted
from model_endpoint.models.predictor import Rows

# The protocol's datatypes of input tensors, little-endian as in the binary extension.
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


def rows_from_nested(rows: Any, width: int, where: str) -> Rows:
    """Make rows of shape (n, width) from n lists of numbers. Raises RequestError naming the place."""
    if type(rows) is not list:
        raise RequestError(f"{where} must be an array of rows, not {kind(rows)}")
    if not rows:
        raise RequestError(f"{where} is empty; give at least one row")
    flat: list[Any] = []
    for index, row in enumerate(rows):
        if type(row) is not list:
            raise RequestError(
                f"{where}[{index}]: a row must be an array of {width} numbers, not {kind(row)}"
            )
        if len(row) != width:
            raise RequestError(f"{where}[{index}] has {len(row)} values, the model takes {width}")
        flat += row
    return numbers(flat, width, where + "[{row}][{column}]").reshape(len(rows), width)


def numbers(values: list[Any], width: int, where: str, allowed: frozenset[type] = EITHER) -> Rows:
    """Make a float64 array of shape (values,) of finite JSON numbers, whose types must be among `allowed`.

    `where` is how an error names a value; it may hold `{row}`, `{column}` and `{index}`, which are filled in. Raises
    RequestError.
    """
    kinds = set(map(type, values))
    if kinds == FLOATS and allowed is EITHER:  # the usual request; orjson has refused infinities
        return np.array(values)
    if not kinds <= allowed:
        wanted = "a number" if allowed is EITHER else "a whole number"
        at = next(at for at, value in enumerate(values) if type(value) not in allowed)
        found = quoted(values[at]) if type(values[at]) is float else kind(values[at])
        raise RequestError(f"{_place(where, at, width)} must be {wanted}, not {found}")
    for at, value in enumerate(values):
        if type(value) is int and not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
            raise RequestError(
                f"{_place(where, at, width)}: {quoted(value)} is beyond 2^53 and would lose digits"
            )
    return np.array(values, dtype=np.float64)


def rows_from_json(data: Any, datatype: str, shape: list[int], where: str) -> Rows:
    """Make rows of the `data` of a tensor, flat or nested, which must fit the shape [n, width] and the datatype.

    Raises RequestError naming the place.
    """
    if type(data) is not list:
        raise RequestError(f"{where} must be an array, not {kind(data)}")
    count, width = shape
    place = where + "[{index}]"
    if data and type(data[0]) is list:
        if len(data) != count:
            raise RequestError(f"{where} has {len(data)} rows, the shape {shape} needs {count}")
        place = where + "[{row}][{column}]"
        for index, row in enumerate(data):
            if type(row) is not list or len(row) != width:
                raise RequestError(f"{where}[{index}] must be a row of {width} values")
        data = [value for row in data for value in row]
    if len(data) != prod(shape):
        raise RequestError(f"{where} has {len(data)} values, the shape {shape} needs {prod(shape)}")
    if datatype == "FP64":
        return numbers(data, width, place).reshape(count, width)
    dtype = NUMBERS[datatype]
    rows = numbers(data, width, place, EITHER if dtype.kind == "f" else INTEGERS)
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    outside = (rows < float(limits.min)) | (rows > float(limits.max))
    if outside.any():
        at = int(outside.argmax())
        raise RequestError(f"{_place(place, at, width)}: {rows[at]:g} is out of {datatype}'s range")
    return rows.astype(dtype).astype(np.float64).reshape(count, width)


def rows_from_binary(data: memoryview, datatype: str, shape: list[int], where: str) -> Rows:
    """Make rows of a binary tensor of shape [n, width]. Raises RequestError for a wrong size or value."""
    dtype = NUMBERS[datatype]
    if len(data) != (needed := prod(shape) * dtype.itemsize):
        raise RequestError(f"{where} has {len(data)} bytes, the shape {shape} of {datatype} needs {needed}")
    values = np.frombuffer(data, dtype)
    rows: Rows = values.astype(np.float64)
    if dtype.kind == "f":
        wrong, reason = ~np.isfinite(rows), "not a finite number"
    else:  # only 64-bit integers can be larger
        wrong, reason = np.abs(rows) > MAX_SAFE_INTEGER, "beyond 2^53 and would lose digits"
    if wrong.any():
        at = int(wrong.argmax())
        raise RequestError(f"{where}: value {at} is {values[at]}, {reason}")
    return rows.reshape(shape)


def to_binary(array: NDArray[Any], datatype: str) -> bytes:
    """An output in the binary extension's form: little-endian; each element of BYTES after its length, in 4 bytes."""
    if datatype != "BYTES":
        return array.astype("?" if datatype == "BOOL" else NUMBERS[datatype]).tobytes()
    texts = [str(element).encode() for element in array.ravel().tolist()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _place(where: str, at: int, width: int) -> str:
    return where.format(row=at // width, column=at % width, index=at)

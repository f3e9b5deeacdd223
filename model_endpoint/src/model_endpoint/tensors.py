"""Numbers in JSON to rows, and outputs back to JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from model_endpoint.errors import RequestError
from model_endpoint.predictors import Rows

EXACT = 2**53  # beyond it a float64 can't hold every integer
NUMBERS = {
    "FP32": np.float32,
    "FP64": np.float64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
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
    return numbers(flat, width, f"{where}[{{row}}][{{column}}]").reshape(len(rows), width)


def numbers(values: list[Any], width: int, where: str, allowed: frozenset[type] = EITHER) -> Rows:
    """Make float64 of finite JSON numbers.

    `where` names the value at fault once `{row}`, `{column}` or `{index}` is filled in. Raises RequestError.
    """
    kinds = set(map(type, values))
    if not kinds <= allowed:
        wanted = "a number" if allowed is EITHER else "a whole number"
        at = next(at for at, value in enumerate(values) if type(value) not in allowed)
        raise RequestError(f"{_place(where, at, width)}: it must be {wanted}, not {_shown(values[at])}")
    if int in kinds:
        for at, value in enumerate(values):
            if type(value) is int and not -EXACT <= value <= EXACT:
                raise RequestError(
                    f"{_place(where, at, width)}: {value} is beyond 2^53 and would lose digits"
                )
    return np.array(values, dtype=np.float64)


def _place(where: str, at: int, width: int) -> str:
    return where.format(row=at // width, column=at % width, index=at)


def _shown(value: Any) -> str:
    return str(value) if type(value) is float else kind(value)

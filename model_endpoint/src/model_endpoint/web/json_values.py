"""Parse the JSON of a request. Runs in a worker."""

from __future__ import annotations

import json
from typing import Any

import orjson

from model_endpoint.models.cells import kind
from model_endpoint.models.errors import RequestError

# orjson makes a float of an integer beyond 64 bits, which has at least 19 digits. To find one, a body gets a "0" for
# each digit, and a "," for whatever may stand before a number.
LONG = b"0" * 19
SIMPLIFIED = bytes.maketrans(b"123456789[: \t\r\n-", b"000000000,,,,,,,")


def parse(body: bytes) -> dict[str, Any]:
    """Parse a JSON object. orjson refuses NaN, infinities, invalid UTF-8 and numbers that overflow a double.

    Every integer is exact, so that the check of a number sees what the client wrote. Raises RequestError.
    """
    try:
        value = orjson.loads(body)
        # A search for the digits alone is much faster, and finds none in most bodies. The second leaves fractions out.
        simple = body.translate(SIMPLIFIED)
        if LONG in simple and b"," + LONG in simple:
            value = json.loads(body)  # slower, and exact
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}") from None
    except RecursionError:
        raise RequestError("the body is not valid JSON: it is nested too deeply") from None
    if type(value) is not dict:
        raise RequestError(f"the body must be a JSON object, not {kind(value)}")
    return value

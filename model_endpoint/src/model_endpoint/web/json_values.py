"""Parse the JSON of a request. Runs in a worker."""

from __future__ import annotations

from typing import Any

import orjson

from model_endpoint.models.cells import kind
from model_endpoint.models.errors import RequestError


def parse(body: bytes) -> dict[str, Any]:
    """Parse a JSON object. orjson refuses NaN, infinities, invalid UTF-8 and numbers that overflow a double.

    Raises RequestError.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}") from None
    if type(value) is not dict:
        raise RequestError(f"the body must be a JSON object, not {kind(value)}")
    return value

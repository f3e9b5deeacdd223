"""What a handler returns, to the Flask views and to the fast path alike. Runs in a worker."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from model_endpoint.models.model import Model

JSON = "application/json"
BINARY = "application/octet-stream"
# Content types of a prediction's body: tritonclient sends none, and `curl -d` sends the form's by default.
ACCEPTED = frozenset({"", JSON, BINARY, "application/x-www-form-urlencoded"})
FAILURE = "the endpoint failed; its log says why, under the X-Request-Id of this answer"


@dataclass(slots=True)
class PredictionResponse:
    """A successful answer: its body, the model that gave it, and the number of rows in the request.

    `json_length` is set for a body of the binary tensor extension: the number of bytes of JSON at its start.
    `unknown` is the number of the request's values that the contract takes and training did not have.
    """

    body: bytes
    model: Model
    rows: int
    json_length: int | None = None
    unknown: int = 0


def error_body(message: str) -> bytes:
    """The body of every answer that is not a success."""
    return orjson.dumps({"error": message})

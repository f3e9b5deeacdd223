"""What a handler gives back, to the Flask views and to the fast lane alike."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from model_endpoint.model import Model

JSON = "application/json"
BINARY = "application/octet-stream"
# Types a prediction may come in: none at all is tritonclient's, the form's is what curl -d says by itself.
ACCEPTED = frozenset({"", JSON, BINARY, "application/x-www-form-urlencoded"})


@dataclass(slots=True)
class Answer:
    """A successful answer: its body, the model that gave it, and how many rows it was asked about.

    `json_length` is set for a body of the binary tensor extension: the bytes of JSON it begins with.
    """

    body: bytes
    model: Model
    rows: int
    json_length: int | None = None


def error_body(message: str) -> bytes:
    """The body of every answer that is no success."""
    return orjson.dumps({"error": message})

"""What a handler returns, to the Flask views and to the fast path alike. Runs in a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from numpy.typing import NDArray

from model_endpoint.models.contract import Input
from model_endpoint.models.model import Model
from model_endpoint.runtime.request_context import RequestContext

JSON = "application/json"
BINARY = "application/octet-stream"
# Content types of a prediction's body: tritonclient sends none, and `curl -d` sends the form's by default.
ACCEPTED = frozenset({"", JSON, BINARY, "application/x-www-form-urlencoded"})
FAILURE = "the endpoint failed; its log says why, under the X-Request-Id of this answer"


@dataclass(slots=True)
class PredictionResponse:
    """A successful answer: its body, the model that gave it, and the number of rows in the request.

    `json_length` is set for a body of the binary tensor extension: the number of bytes of JSON at its start.
    `unknown` is the number of the request's values that the contract takes and training did not have. `values` are the
    rows as the predictor got them, and its predictions.
    """

    body: bytes
    model: Model
    rows: int
    json_length: int | None = None
    unknown: int = 0
    values: tuple[Input, NDArray[Any]] | None = None

    def tell(self, context: RequestContext) -> None:
        """Tell the middleware what the answer is about."""
        context.model, context.rows, context.unknown = self.model.card.name, self.rows, self.unknown
        context.values = self.values


def error_body(message: str) -> bytes:
    """The body of every answer that is not a success."""
    return orjson.dumps({"error": message})

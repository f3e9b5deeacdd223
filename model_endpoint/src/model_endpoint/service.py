"""What the Flask views and the fast lane share: who answers, what is counted, and what is recorded."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING

from model_endpoint.metrics import NO_MODEL, Metrics
from model_endpoint.model import Models
from model_endpoint.record import Recorder
from model_endpoint.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
FAILURE = "the endpoint failed; its log says why, under the X-Request-Id of this answer"


@dataclass(slots=True)
class Exchange:
    """One request on its way: what is known when it comes in, and what its handler finds out about it.

    `begun` is the model its route names, `model` the one that answered; both are empty for neither.
    """

    method: str
    path: str
    request_id: str
    begun: str
    model: str
    rows: int = 0
    body: bytes = b""
    start: float = field(default_factory=perf_counter)


def read_body(environ: WSGIEnvironment, most: int) -> bytes | None:
    """The body of a request that says its length and keeps to it; None, with nothing lost, for any other."""
    length = environ.get("CONTENT_LENGTH", "")
    if not (length.isascii() and length.isdigit() and int(length) <= most):
        return None
    body: bytes = environ["wsgi.input"].read(int(length))
    if len(body) == int(length):
        return body
    environ["wsgi.input"] = io.BytesIO(body)
    return None


class Service:
    """The models of one worker with everything that happens around a request."""

    def __init__(self, settings: Settings, models: Models, metrics: Metrics, recorder: Recorder) -> None:
        self.settings = settings
        self.models = models
        self.metrics = metrics
        self.recorder = recorder
        self._who = [("X-Release", settings.release), ("X-Endpoint", settings.endpoint)]
        self._prefix = os.urandom(8).hex()
        self._numbers = count(1)

    def begin(self, environ: WSGIEnvironment, model: str = NO_MODEL) -> Exchange:
        """Count a request in. It keeps its client's id, unless that could forge a log line or a header."""
        given = environ.get("HTTP_X_REQUEST_ID")
        if not (given and REQUEST_ID.fullmatch(given)):
            given = f"{self._prefix}-{next(self._numbers):x}"
        self.metrics.begin(model)
        return Exchange(environ["REQUEST_METHOD"], environ["PATH_INFO"], given, model, model)

    def headers(self, exchange: Exchange) -> list[tuple[str, str]]:
        """Who answers what, on every answer."""
        return [*self._who, ("X-Request-Id", exchange.request_id)]

    def end(self, exchange: Exchange, status: int, answer: bytes) -> None:
        """Count a request out, and record it."""
        seconds = perf_counter() - exchange.start
        self.metrics.end(exchange.begun, exchange.model, status, seconds, exchange.rows)
        self.recorder.record(exchange, status, seconds, answer)

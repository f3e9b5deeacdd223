"""What happens around every request, whichever lane answers it: who answers, what is counted and recorded."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, Any

from model_endpoint.metrics import NO_MODEL, Metrics
from model_endpoint.model import Models
from model_endpoint.record import Recorder
from model_endpoint.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
FAILURE = "the endpoint failed; its log says why, under the X-Request-Id of this answer"


@dataclass(slots=True)
class Exchange:
    """One request on its way: what is known when it comes in, and what its handler finds out about it.

    `model` is the one the path names, until a handler knows better; it is empty for none.
    """

    method: str
    path: str
    request_id: str
    model: str
    rows: int = 0
    body: bytes = b""
    status: int = 0
    start: float = field(default_factory=perf_counter)


def exchange_of(environ: WSGIEnvironment) -> Exchange:
    """The exchange a request belongs to, for its handler to fill in."""
    exchange: Exchange = environ["flotilla.exchange"]
    return exchange


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


@dataclass(frozen=True, slots=True)
class Service:
    """What one worker serves with."""

    settings: Settings
    models: Models
    metrics: Metrics
    recorder: Recorder


class Bookkeeper:
    """A WSGI application around another: counts, records and signs what that one answers."""

    def __init__(self, app: WSGIApplication, service: Service) -> None:
        self._app = app
        self._models = service.models
        self._metrics = service.metrics
        self._recorder = service.recorder
        self._who = [("X-Release", service.settings.release), ("X-Endpoint", service.settings.endpoint)]
        self._prefix = os.urandom(8).hex()
        self._numbers = count(1)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        path = environ["PATH_INFO"]
        model = path.split("/", 4)[3] if path.startswith("/v2/models/") else NO_MODEL
        if model not in self._models:
            model = NO_MODEL
        request_id = environ.get("HTTP_X_REQUEST_ID")
        # The client's own, unless it has none or one that could forge a log line or a header.
        if not (request_id and REQUEST_ID.fullmatch(request_id)):
            request_id = f"{self._prefix}-{next(self._numbers):x}"
        exchange = Exchange(environ["REQUEST_METHOD"], path, request_id, model)
        environ["flotilla.exchange"] = exchange

        def sign(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            exchange.status = int(status[:3])
            return start_response(status, [*headers, *self._who, ("X-Request-Id", request_id)], exc_info)

        self._metrics.begin(model)
        answer = self._app(environ, sign)
        # In one piece, which granian sends with less ado than an iterator.
        content = answer[0] if type(answer) is list else _join(answer)
        seconds = perf_counter() - exchange.start
        self._metrics.end(model, exchange.model, exchange.status, seconds, exchange.rows)
        # Nginx sets the header, and overwrites a client's.
        self._recorder.record(exchange, seconds, content, environ.get("HTTP_X_SHADOW") == "1")
        return [content]


def _join(answer: Iterable[bytes]) -> bytes:
    try:
        return b"".join(answer)
    finally:
        if close := getattr(answer, "close", None):
            close()

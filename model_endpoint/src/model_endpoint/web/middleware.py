"""What happens around every request, whether Flask or the fast path answers it. Runs in a worker."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, Any

from model_endpoint.runtime.metrics import NO_MODEL
from model_endpoint.runtime.request_context import KEY, RequestContext
from model_endpoint.web.service import Service

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class RequestMiddleware:
    """A WSGI application around `app`: gives each request an id, adds the endpoint's headers, counts and logs."""

    def __init__(self, app: WSGIApplication, service: Service) -> None:
        self._app = app
        self._models = service.models
        self._metrics = service.metrics
        self._counts = service.value_counts.models
        self._request_log = service.request_log
        self._headers = [("X-Release", service.settings.release), ("X-Endpoint", service.settings.endpoint)]
        self._prefix = os.urandom(8).hex()
        self._numbers = count(1)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        path = environ["PATH_INFO"]
        model = path.split("/", 4)[3] if path.startswith("/v2/models/") else NO_MODEL
        if model not in self._models:
            model = NO_MODEL
        request_id = environ.get("HTTP_X_REQUEST_ID")
        # The client's id is kept unless it is missing or could forge a log line or a header.
        if not (request_id and REQUEST_ID.fullmatch(request_id)):
            request_id = f"{self._prefix}-{next(self._numbers):x}"
        context = RequestContext(environ["REQUEST_METHOD"], path, request_id, model)
        environ[KEY] = context

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            context.status = int(status[:3])
            headers = [*headers, *self._headers, ("X-Request-Id", request_id)]
            return start_response(status, headers, exc_info)

        self._metrics.begin(model)
        answer = self._app(environ, start)
        # In one piece, which costs granian less than an iterator.
        content = answer[0] if type(answer) is list else _join(answer)
        seconds = perf_counter() - context.start
        self._metrics.end(model, context.model, context.status, seconds, context.rows)
        if context.unknown:
            self._metrics.count_unknown(context.model, context.unknown)
        if context.values and (counts := self._counts.get(context.model)):
            # A tester chooses the release by this header.
            counts.count(*context.values, "HTTP_X_RELEASE" not in environ)
        # Nginx sets the header, and overwrites a client's.
        self._request_log.record(context, seconds, content, environ.get("HTTP_X_SHADOW") == "1")
        return [content]


def _join(answer: Iterable[bytes]) -> bytes:
    try:
        return b"".join(answer)
    finally:
        if close := getattr(answer, "close", None):
            close()

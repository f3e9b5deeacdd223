"""Answer the most frequent requests, plain predictions in JSON, before Flask's dispatch. Runs in a worker.

The Flask views are the reference. Both call the same handlers, and a property test compares their answers byte for
byte. Every request with anything unusual is passed on to Flask.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from model_endpoint.models.errors import RequestError
from model_endpoint.runtime.request_context import context_of
from model_endpoint.web import plain, v2
from model_endpoint.web.body import read_body
from model_endpoint.web.responses import ACCEPTED, BINARY, FAILURE, JSON, PredictionResponse, error_body
from model_endpoint.web.service import Service

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PHRASES = {
    200: "200 OK",
    400: "400 BAD REQUEST",
    404: "404 NOT FOUND",
    413: "413 REQUEST ENTITY TOO LARGE",
    500: "500 INTERNAL SERVER ERROR",
}
log = logging.getLogger(__name__)


class FastPath:
    """A WSGI application in front of Flask's."""

    def __init__(self, flask: WSGIApplication, service: Service) -> None:
        self._flask = flask
        self._max_body = service.settings.max_body
        self._routes: dict[str, Callable[[bytes], PredictionResponse]] = {
            "/predict": partial(plain.predict, service.models)
        }
        for name, model in service.models.items():
            infer = partial(v2.infer, model)
            self._routes[f"/v2/models/{name}/infer"] = infer
            self._routes[f"/v2/models/{name}/versions/{model.card.version}/infer"] = infer

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        route = self._routes.get(environ["PATH_INFO"])
        if (
            route is None
            or environ["REQUEST_METHOD"] != "POST"
            or environ.get("CONTENT_TYPE", "") not in ACCEPTED
            or "HTTP_INFERENCE_HEADER_CONTENT_LENGTH" in environ
            or "HTTP_CONTENT_ENCODING" in environ
            or (body := read_body(environ, self._max_body)) is None
        ):
            return self._flask(environ, start_response)
        context = context_of(environ)
        context.body = body
        content_type, status = JSON, 200
        more: list[tuple[str, str]] = []
        try:
            response = route(body)
            response.tell(context)
            content = response.body
            if response.json_length is not None:
                more = [("Inference-Header-Content-Length", str(response.json_length))]
                content_type = BINARY
        except RequestError as error:
            content, status = error_body(error.message), error.status
        except Exception:
            log.exception("request %s failed", context.request_id)
            content, status = error_body(FAILURE), 500
        length = ("Content-Length", str(len(content)))
        start_response(PHRASES[status], [("Content-Type", content_type), length, *more])
        return [content]

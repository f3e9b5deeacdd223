"""The hottest routes answered before Flask's dispatch: predictions in JSON that come as plainly as they can.

The Flask views are the reference. Both call the same handlers, and a property test holds their answers
together byte for byte; whatever is out of the ordinary about a request is left to Flask.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from model_endpoint import plain, v2
from model_endpoint.answer import ACCEPTED, BINARY, JSON, Answer, error_body
from model_endpoint.errors import RequestError
from model_endpoint.service import FAILURE, Service, exchange_of, read_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PHRASES = {200: "200 OK", 400: "400 BAD REQUEST", 404: "404 NOT FOUND", 500: "500 INTERNAL SERVER ERROR"}
log = logging.getLogger(__name__)


class FastLane:
    """A WSGI application before another."""

    def __init__(self, flask: WSGIApplication, service: Service) -> None:
        self._flask = flask
        self._most = service.settings.max_body
        self._routes: dict[str, Callable[[bytes], Answer]] = {
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
            or (body := read_body(environ, self._most)) is None
        ):
            return self._flask(environ, start_response)
        exchange = exchange_of(environ)
        exchange.body = body
        content_type, status = JSON, 200
        more: list[tuple[str, str]] = []
        try:
            answer = route(body)
            content, exchange.model, exchange.rows = answer.body, answer.model.card.name, answer.rows
            if answer.json_length is not None:
                more = [("Inference-Header-Content-Length", str(answer.json_length))]
                content_type = BINARY
        except RequestError as error:
            content, status = error_body(error.message), error.status
        except Exception:
            log.exception("request %s failed", exchange.request_id)
            content, status = error_body(FAILURE), 500
        length = ("Content-Length", str(len(content)))
        start_response(PHRASES[status], [("Content-Type", content_type), length, *more])
        return [content]

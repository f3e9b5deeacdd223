"""The Flask application."""

from __future__ import annotations

import logging
import os
import re
from itertools import count
from typing import Any

import orjson
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from model_endpoint import plain, v2
from model_endpoint.errors import RequestError
from model_endpoint.model import Model, Models
from model_endpoint.settings import Settings

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
log = logging.getLogger(__name__)


def create_app(settings: Settings, models: Models) -> Flask:
    """Make the application that serves `models`, which have passed `Model.verify`."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body
    prefix = os.urandom(8).hex()
    numbers = count(1)

    def reply(content: dict[str, Any] | bytes, status: int = 200) -> Response:
        body = content if isinstance(content, bytes) else orjson.dumps(content)
        return Response(body, status, content_type="application/json")

    def find(name: str, version: str | None = None) -> Model:
        model = plain.find(models, name)
        if version not in (None, model.card.version):
            raise RequestError(
                f"model {name!r} has no version {version!r}; it has {model.card.version!r}", 404
            )
        return model

    @app.get("/v2")
    def server_metadata() -> Response:
        return reply({"name": "flotilla", "version": settings.release, "extensions": []})

    @app.get("/v2/health/live")
    def live() -> Response:
        return reply({"live": True})

    # A worker takes requests only once its models are loaded, warmed up and have answered their golden
    # requests, so an answer at all means ready.
    @app.get("/v2/health/ready")
    def ready() -> Response:
        return reply({"ready": True})

    @app.get("/v2/models/<name>")
    @app.get("/v2/models/<name>/versions/<version>")
    def model_metadata(name: str, version: str | None = None) -> Response:
        return reply(v2.metadata(find(name, version)))

    @app.get("/v2/models/<name>/ready")
    @app.get("/v2/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str | None = None) -> Response:
        return reply({"name": find(name, version).card.name, "ready": True})

    @app.post("/v2/models/<name>/infer")
    @app.post("/v2/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str | None = None) -> Response:
        return reply(v2.infer(find(name, version), request.get_data(cache=False)))

    @app.post("/predict")
    def predict() -> Response:
        return reply(plain.predict(models, request.get_data(cache=False)))

    @app.before_request
    def take_request_id() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if REQUEST_ID.fullmatch(given) else f"{prefix}-{next(numbers):x}"

    @app.after_request
    def say_who_answered(response: Response) -> Response:
        response.headers["X-Release"] = settings.release
        response.headers["X-Endpoint"] = settings.endpoint
        response.headers["X-Request-Id"] = g.request_id
        return response

    @app.errorhandler(RequestError)
    def refuse(error: RequestError) -> Response:
        return reply({"error": error.message}, error.status)

    @app.errorhandler(HTTPException)
    def refuse_http(error: HTTPException) -> Response:
        response = reply({"error": error.description or error.name}, error.code or 500)
        response.headers.extend([item for item in error.get_headers() if item[0] == "Allow"])
        return response

    @app.errorhandler(Exception)
    def fail(error: Exception) -> Response:
        log.exception("request %s failed", g.request_id, exc_info=error)
        return reply(
            {"error": "the endpoint failed; its log says why, under the X-Request-Id of this answer"}, 500
        )

    return app

"""The Flask application: every route, and the reference for the fast lane."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from flask import Flask, Response, current_app, request, send_from_directory
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from model_endpoint import openapi, plain, v2
from model_endpoint.answer import ACCEPTED, BINARY, JSON, Answer, error_body
from model_endpoint.errors import RequestError
from model_endpoint.fastlane import FastLane
from model_endpoint.model import Model
from model_endpoint.service import FAILURE, Bookkeeper, Service, exchange_of, read_body
from model_endpoint.tensors import shown

log = logging.getLogger(__name__)
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
DOCS_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'"


def create_app(service: Service) -> Flask:
    """Make the application for models that have passed `Model.verify`, fast lane and bookkeeping included."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = service.settings.max_body
    app.url_map.merge_slashes = False  # a second slash is another route, not a redirection
    _add_protocol(app, service)
    _add_plain_routes(app, service)
    _add_documents(app, service)
    _add_errors(app)
    if service.settings.fast_lane:
        app.wsgi_app = FastLane(app.wsgi_app, service)  # type: ignore[method-assign]
    app.wsgi_app = Bookkeeper(app.wsgi_app, service)  # type: ignore[method-assign]
    return app


def _add_protocol(app: Flask, service: Service) -> None:
    def find(name: str, version: str | None) -> Model:
        model = plain.find(service.models, name)
        if version not in (None, model.card.version):
            has = model.card.version
            raise RequestError(f"model {name!r} has no version {shown(version)}; it has {has!r}", 404)
        return model

    @app.get("/v2")
    @app.get("/v2/")
    def server_metadata() -> Response:
        return _json({"name": "flotilla", "version": service.settings.release, "extensions": v2.EXTENSIONS})

    @app.get("/v2/health/live")
    def live() -> Response:
        return _json({"live": True})

    # A worker takes requests only once its models are loaded, warmed up and have answered their golden
    # requests, so to answer at all is to be ready.
    @app.get("/v2/health/ready")
    def ready() -> Response:
        return _json({"ready": True})

    @app.get("/v2/models/<name>")
    @app.get("/v2/models/<name>/versions/<version>")
    def model_metadata(name: str, version: str | None = None) -> Response:
        return _json(v2.model_metadata(find(name, version)))

    @app.get("/v2/models/<name>/ready")
    @app.get("/v2/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str | None = None) -> Response:
        return _json({"name": find(name, version).card.name, "ready": True})

    @app.post("/v2/models/<name>/infer")
    @app.post("/v2/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str | None = None) -> Response:
        model = find(name, version)
        return _reply(v2.infer(model, _body(), request.headers.get("Inference-Header-Content-Length")))

    @app.post("/v2/repository/index")
    def repository_index() -> Response:
        return _json(v2.repository_index(service.models, _body()))


def _add_plain_routes(app: Flask, service: Service) -> None:
    @app.post("/predict")
    def predict() -> Response:
        return _reply(plain.predict(service.models, _body()))

    @app.post("/invocations")
    def invocations() -> Response:
        model = plain.find(service.models, request.args.get("model"))
        if request.mimetype == "text/csv":
            return _reply(plain.invocations_csv(model, _body(also="text/csv")))
        return _reply(plain.invocations(model, _body()))


def _add_documents(app: Flask, service: Service) -> None:
    document = orjson.dumps(openapi.document(service.models, service.settings))

    @app.get("/openapi.json")
    def openapi_document() -> Response:
        return Response(document, content_type=JSON)

    @app.get("/docs")
    @app.get("/docs/<path:asset>")
    def docs(asset: str = "index.html") -> Response:
        response = send_from_directory("docs", asset)
        response.headers["Content-Security-Policy"] = DOCS_POLICY
        return response

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(service.metrics.render(), content_type=PROMETHEUS)


def _add_errors(app: Flask) -> None:
    @app.errorhandler(RequestError)
    def refuse(error: RequestError) -> Response:
        return Response(error_body(error.message), error.status, content_type=JSON)

    @app.errorhandler(HTTPException)
    def refuse_http(error: HTTPException) -> Response:
        reasons = {
            404: f"there is no {request.path[:200]!r} here; /openapi.json lists what there is",
            405: f"{request.method} is not for this route",
            413: f"the body is larger than {request.max_content_length} bytes",
        }
        status = error.code or 500
        message = reasons.get(status) or error.description or error.name
        response = Response(error_body(message), status, content_type=JSON)
        response.headers.extend([header for header in error.get_headers() if header[0] == "Allow"])
        return response

    @app.errorhandler(Exception)
    def fail(error: Exception) -> Response:
        log.exception("request %s failed", exchange_of(request.environ).request_id, exc_info=error)
        return Response(error_body(FAILURE), 500, content_type=JSON)


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), content_type=JSON)


def _body(also: str | None = None) -> bytes:
    """The body of a prediction; raises RequestError for a type or an encoding of it that is not taken."""
    environ = request.environ
    if environ.get("CONTENT_TYPE", "") not in ACCEPTED and request.mimetype not in {*ACCEPTED, also}:
        raise RequestError(f"Content-Type: {shown(request.mimetype)} is not taken; send {JSON}", 415)
    if encoding := environ.get("HTTP_CONTENT_ENCODING"):
        raise RequestError(f"Content-Encoding: {shown(encoding)} is not taken; send the body as it is", 415)
    most: int = current_app.config["MAX_CONTENT_LENGTH"]
    body = read_body(environ, most)
    if body is None:
        body = request.get_data(cache=False)
        # Of a chunked body, whose length is not known before, Werkzeug silently drops what is over the limit.
        if len(body) == most and environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
    exchange_of(environ).body = body
    return body


def _reply(answer: Answer) -> Response:
    exchange = exchange_of(request.environ)
    exchange.model, exchange.rows = answer.model.card.name, answer.rows
    if answer.json_length is None:
        return Response(answer.body, content_type=JSON)
    response = Response(answer.body, content_type=BINARY)
    response.headers["Inference-Header-Content-Length"] = str(answer.json_length)
    return response

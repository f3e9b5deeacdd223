"""The Flask application: every route, and the reference for the fast path. Runs in a worker."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from flask import Flask, Response, current_app, request, send_from_directory
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from model_endpoint.drift.report import report
from model_endpoint.models.errors import RequestError, quoted
from model_endpoint.models.model import find
from model_endpoint.runtime.prometheus import CONTENT_TYPE, PrometheusText
from model_endpoint.runtime.request_context import context_of
from model_endpoint.web import openapi, page, plain, v2
from model_endpoint.web.body import read_body
from model_endpoint.web.fast_path import FastPath
from model_endpoint.web.middleware import RequestMiddleware
from model_endpoint.web.responses import ACCEPTED, BINARY, FAILURE, JSON, PredictionResponse, error_body
from model_endpoint.web.service import Service

log = logging.getLogger(__name__)
# Nginx names the same routes. /openapi.json lists all, and is for operators only.
PREDICTIONS = "/predict, /invocations or /v2/models/NAME/infer"
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_app(service: Service) -> Flask:
    """Make the application, with fast path and middleware, for models that have passed `Model.verify`."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = service.settings.max_body
    app.url_map.merge_slashes = False  # a path with a double slash is another path, not a redirection
    _add_protocol(app, service)
    _add_plain_routes(app, service)
    _add_documents(app, service)
    _add_errors(app)
    if service.settings.fast_path:
        app.wsgi_app = FastPath(app.wsgi_app, service)  # type: ignore[method-assign]
    app.wsgi_app = RequestMiddleware(app.wsgi_app, service)  # type: ignore[method-assign]
    return app


def _add_protocol(app: Flask, service: Service) -> None:
    models = service.models

    @app.get("/v2")
    @app.get("/v2/")
    def server_metadata() -> Response:
        return _json({"name": "flotilla", "version": service.settings.release, "extensions": v2.EXTENSIONS})

    @app.get("/v2/health/live")
    def live() -> Response:
        return _json({"live": True})

    # A worker takes requests only when its models have answered their golden requests, so every answer means ready.
    @app.get("/v2/health/ready")
    def ready() -> Response:
        return _json({"ready": True})

    @app.get("/v2/models/<name>")
    @app.get("/v2/models/<name>/versions/<version>")
    def model_metadata(name: str, version: str | None = None) -> Response:
        return _json(v2.model_metadata(find(models, name, version)))

    @app.get("/v2/models/<name>/ready")
    @app.get("/v2/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str | None = None) -> Response:
        return _json({"name": find(models, name, version).card.name, "ready": True})

    @app.post("/v2/models/<name>/infer")
    @app.post("/v2/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str | None = None) -> Response:
        model = find(models, name, version)
        return _reply(v2.infer(model, _body(), request.headers.get("Inference-Header-Content-Length")))

    # Load balancers name the keys of requests whose clients have left, one a line. Clients can't reach this route.
    @app.post("/abandoned")
    def abandoned() -> Response:
        service.abandoned.add(request.get_data().decode("ascii", "replace").split())
        return _json({})

    @app.post("/v2/repository/index")
    def repository_index() -> Response:
        return _json(v2.repository_index(models, _body()))


def _add_plain_routes(app: Flask, service: Service) -> None:
    @app.post("/predict")
    def predict() -> Response:
        return _reply(plain.predict(service.models, _body()))

    @app.post("/invocations")
    def invocations() -> Response:
        model = find(service.models, request.args.get("model"))
        if request.mimetype == "text/csv":
            return _reply(plain.invocations_csv(model, _body(also="text/csv")))
        return _reply(plain.invocations(model, _body()))


def _add_documents(app: Flask, service: Service) -> None:
    prometheus = PrometheusText(service.metrics, service.value_counts, service.models, service.settings)
    document = orjson.dumps(openapi.document(service.models, service.settings))
    forms = orjson.dumps(page.page(service.models, service.settings))

    @app.get("/openapi.json")
    def openapi_document() -> Response:
        return Response(document, content_type=JSON)

    @app.get("/docs/models.json")
    def docs_models() -> Response:
        return Response(forms, content_type=JSON)

    @app.get("/docs")
    @app.get("/docs/<path:asset>")
    def docs(asset: str = "index.html") -> Response:
        response = send_from_directory("docs", asset)
        response.headers["Content-Security-Policy"] = DOCS_POLICY
        return response

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(prometheus.render(), content_type=CONTENT_TYPE)

    @app.get("/metrics/drift")
    def drift() -> Response:
        return _json({name: report(counts).values() for name, counts in service.value_counts.models.items()})

    @app.get("/metrics/answers")
    def answers() -> Response:
        counted = service.value_counts.models
        return _json(
            {
                "release": service.settings.release,
                "start": service.metrics.start_time,
                "models": {
                    name: counted[name].answers.values() if name in counted else {} for name in service.models
                },
            }
        )


def _add_errors(app: Flask) -> None:
    @app.errorhandler(RequestError)
    def refuse(error: RequestError) -> Response:
        return Response(error_body(error.message), error.status, content_type=JSON)

    @app.errorhandler(HTTPException)
    def refuse_http(error: HTTPException) -> Response:
        reasons = {
            404: f"there is no route {request.path[:200]!r}; predictions go to {PREDICTIONS}",
            405: f"this route does not take {request.method}",
            413: f"the body is larger than {request.max_content_length} bytes",
        }
        status = error.code or 500
        message = reasons.get(status) or error.description or error.name
        response = Response(error_body(message), status, content_type=JSON)
        response.headers.extend([header for header in error.get_headers() if header[0] == "Allow"])
        return response

    @app.errorhandler(Exception)
    def fail(error: Exception) -> Response:
        log.exception("request %s failed", context_of(request.environ).request_id, exc_info=error)
        return Response(error_body(FAILURE), 500, content_type=JSON)


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), content_type=JSON)


def _body(also: str | None = None) -> bytes:
    """The body of a prediction, which may have the content type `also`.

    Raises RequestError for another type or an encoding, and RequestEntityTooLarge.
    """
    environ = request.environ
    if environ.get("CONTENT_TYPE", "") not in ACCEPTED and request.mimetype not in {*ACCEPTED, also}:
        raise RequestError(f"Content-Type: {quoted(request.mimetype)} is not supported; send {JSON}", 415)
    if encoding := environ.get("HTTP_CONTENT_ENCODING"):
        raise RequestError(
            f"Content-Encoding: {quoted(encoding)} is not supported; send the body uncompressed", 415
        )
    max_body: int = current_app.config["MAX_CONTENT_LENGTH"]
    body = read_body(environ, max_body)
    if body is None:
        body = request.get_data(cache=False)
        # Werkzeug silently cuts a chunked body at the limit, since its length is not known before.
        if len(body) == max_body and environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
    context_of(environ).body = body
    return body


def _reply(prediction: PredictionResponse) -> Response:
    prediction.tell(context_of(request.environ))
    if prediction.json_length is None:
        return Response(prediction.body, content_type=JSON)
    response = Response(prediction.body, content_type=BINARY)
    response.headers["Inference-Header-Content-Length"] = str(prediction.json_length)
    return response

"""The fast path against the Flask views: the same bytes for every request."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.test import run_wsgi_app

from model_endpoint.web.app import create_app
from model_endpoint.web.fast_path import FastPath
from model_endpoint.web.middleware import RequestMiddleware
from model_endpoint.web.service import Service

NUMBER = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**54), 2**54))


VALUE = st.one_of(NUMBER, st.none(), st.booleans(), st.text(max_size=3), st.just(1e300))


WIDTHS = {"iris": 4, "breast_cancer": 30}


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """A path and a body: right, nearly right, any JSON, or any bytes."""
    name = draw(st.sampled_from(sorted(WIDTHS)))
    good = draw(st.booleans())
    width = WIDTHS[name] if good else draw(st.integers(0, 5))
    cell = st.floats(-1e3, 1e3) if good else VALUE
    rows = draw(st.lists(st.lists(cell, min_size=width, max_size=width), min_size=good, max_size=3))
    body: dict[str, Any]
    if draw(st.booleans()):
        path, body = "/predict", {"model": draw(st.sampled_from([name, "rose"])), "instances": rows}
    else:
        path = draw(st.sampled_from([f"/v2/models/{name}/infer", f"/v2/models/{name}/versions/1/infer"]))
        datatype = draw(st.sampled_from(["FP64", "FP32", "INT8", "BYTES"]))
        data = draw(st.sampled_from([rows, [value for row in rows for value in row]]))
        tensor = {"name": "input", "shape": [len(rows), width], "datatype": datatype, "data": data}
        body = {"inputs": [tensor], "id": draw(st.text(max_size=5))}
        if draw(st.booleans()):
            body["outputs"] = [{"name": draw(st.sampled_from(["predict", "predict_proba", "x"]))}]
        if draw(st.booleans()):
            body["parameters"] = {"binary_data_output": draw(st.booleans())}
    text = json.dumps(body).encode()
    cut = draw(st.integers(0, len(text)) | st.just(len(text)))
    return path, draw(st.just(text[:cut]) | st.binary(max_size=20))


class Paths:
    """The same application with the fast path and without, and how often the fast path passed a request on."""

    def __init__(self, service: Service) -> None:
        without = replace(service, settings=replace(service.settings, fast_path=False))
        self.flask = create_app(without)
        self.passed_on = 0
        self.fast = RequestMiddleware(FastPath(self._count, service), service)

    def _count(self, environ: Any, start_response: Any) -> Any:
        self.passed_on += 1
        return Flask.wsgi_app(self.flask, environ, start_response)


@pytest.fixture(scope="module")
def paths(service: Service) -> Paths:
    return Paths(service)


def call(app: Any, path: str, body: bytes, **environ: str) -> tuple[bytes, str, list[tuple[str, str]]]:
    request = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "5001",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_X_REQUEST_ID": "the-same",
    }
    content, status, headers = run_wsgi_app(app, request | environ, buffered=True)
    return b"".join(content), status, sorted(headers)


@settings(max_examples=150, deadline=None)
@given(requests())
@example(("/predict", b'{"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}'))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_fast_path_and_flask_answer_the_same_bytes(
    paths: Paths, request_of_any_kind: tuple[str, bytes]
) -> None:
    path, body = request_of_any_kind
    fast = call(paths.fast, path, body)
    assert fast == call(paths.flask, path, body)
    assert fast[1][:3] in ("200", "400", "404")


def test_a_plain_prediction_does_not_reach_flask(paths: Paths) -> None:
    before = paths.passed_on
    body = b'{"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}'
    assert call(paths.fast, "/predict", body)[1] == "200 OK"
    assert paths.passed_on == before


@pytest.mark.parametrize(
    ("path", "environ"),
    [
        ("/v2", {"REQUEST_METHOD": "GET"}),
        ("/predict", {"REQUEST_METHOD": "PUT"}),
        ("/predict", {"CONTENT_TYPE": "text/plain"}),
        ("/predict", {"CONTENT_LENGTH": str(1 << 21)}),
        ("/predict", {"CONTENT_LENGTH": "5"}),
        ("/predict", {"HTTP_CONTENT_ENCODING": "gzip"}),
        ("/v2/models/iris/infer", {"HTTP_INFERENCE_HEADER_CONTENT_LENGTH": "2"}),
        ("/v2/models/iris/versions/2/infer", {}),
    ],
)
def test_an_unusual_request_is_passed_on_to_flask(paths: Paths, path: str, environ: dict[str, str]) -> None:
    before = paths.passed_on
    fast = call(paths.fast, path, b"{}", **environ)
    assert paths.passed_on == before + 1
    assert fast == call(paths.flask, path, b"{}", **environ)


def test_fast_path_and_flask_answer_a_failure_alike(
    paths: Paths, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(rows: Any, probabilities: bool) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(service.models["iris"], "predictor", fail)
    body = b'{"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}'
    fast = call(paths.fast, "/predict", body)
    assert fast[1].startswith("500")
    assert b"ZeroDivisionError" not in fast[0]
    assert fast == call(paths.flask, "/predict", body)

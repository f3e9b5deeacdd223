"""The bodies that the endpoint takes, by type and encoding."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient

from model_endpoint.web.body import read_body

PATH = "/invocations?model=iris"


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/predict", "text/csv"),
        ("/predict", "application/xml"),
        (PATH, "text/plain"),
        (PATH, "multipart/form-data"),
    ],
)
def test_a_wrong_content_type_is_refused(client: FlaskClient, path: str, content_type: str) -> None:
    answer = client.post(path, data=b"{}", content_type=content_type)
    assert answer.status_code == 415
    assert content_type in answer.get_json()["error"]


def test_a_compressed_body_is_refused(client: FlaskClient) -> None:
    assert client.post("/predict", data=b"{}", headers={"Content-Encoding": "gzip"}).status_code == 415


@pytest.mark.parametrize(
    ("length", "sent", "body"),
    [
        ("2", b"{}", b"{}"),
        ("2", b"{} and the next request", b"{}"),
        ("", b"{}", None),
        ("x", b"{}", None),
        ("101", b" " * 101, None),
        ("5", b"{}", None),
    ],
)
def test_only_a_complete_body_within_the_limit_is_read(length: str, sent: bytes, body: bytes | None) -> None:
    environ: dict[str, Any] = {"CONTENT_LENGTH": length, "wsgi.input": BytesIO(sent)}
    assert read_body(environ, 100) == body
    if body is None:
        assert environ["wsgi.input"].read() == sent  # nothing of it is lost

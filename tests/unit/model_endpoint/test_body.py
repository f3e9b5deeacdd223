"""The bodies that the endpoint takes, by type and encoding."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

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

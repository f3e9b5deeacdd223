"""Errors of the routes, and the page at /docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

TEMPLATES = Path(__file__).resolve().parents[3] / "roles" / "nginx_lb" / "templates"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/rose/infer", 404),
        ("POST", "/v2/models/iris/versions/2/infer", 404),
        ("GET", "/v2/models/rose", 404),
        ("GET", "/predict", 405),
        ("DELETE", "/v2/models/iris", 405),
        ("GET", "/nowhere", 404),
        ("POST", "/predict", 413),
    ],
)
def test_every_error_is_json_with_its_status(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    body = b" " * (2 << 20) if status == 413 else b"{}"
    answer = client.open(path, method=method, data=body)
    assert answer.status_code == status
    assert set(answer.get_json()) == {"error"}
    assert ("Allow" in answer.headers) == (status == 405)


def test_who_asks_for_no_route_is_told_routes_that_every_client_may_use(client: FlaskClient) -> None:
    error = client.get("/nowhere").get_json()["error"]
    routes = re.findall(r"(/\S*[a-z])\b", error.partition(";")[2])
    assert routes == ["/predict", "/invocations", "/v2/models/NAME/infer"]
    for route in routes:
        assert client.post(route.replace("NAME", "iris"), data=b"{}").status_code == 400
    # The load balancer answers for itself where it knows of no route, in the same words.
    assert error.partition(";")[2] in (TEMPLATES / "frontend.conf.j2").read_text()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/" + "x" * 5000, {}),
        ("/v2/models/" + "x" * 5000, {}),
        ("/v2/models/iris/versions/" + "x" * 5000, {}),
        ("/predict", {"Content-Type": "x" * 5000}),
        ("/predict", {"Content-Encoding": "x" * 5000}),
        ("/v2/models/iris/infer", {"Inference-Header-Content-Length": "x" * 5000}),
    ],
)
def test_an_error_does_not_grow_with_the_request(
    client: FlaskClient, path: str, headers: dict[str, str]
) -> None:
    method = "POST" if headers else "GET"
    answer = client.open(path, method=method, data=b"{}" if headers else None, headers=headers)
    assert 400 <= answer.status_code < 500
    assert len(answer.data) < 500


def test_the_page_loads_nothing_from_elsewhere(client: FlaskClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) == 4
    for asset in assets:
        assert asset.startswith("/")
        assert client.get(asset).status_code == 200


@pytest.mark.parametrize("path", ["/docs/../app.py", "/docs/%2e%2e/app.py", "/docs/nothing.js", "/docs/"])
def test_no_other_file_is_served_under_docs(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404

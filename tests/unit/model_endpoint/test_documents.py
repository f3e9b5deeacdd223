"""/openapi.json and /docs."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient


def test_each_model_is_described_with_its_width_and_an_example_that_works(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    assert document["openapi"] == "3.1.0"
    for model, width in (("iris", 4), ("breast_cancer", 30)):
        operation = document["paths"][f"/v2/models/{model}/infer"]["post"]
        content = operation["requestBody"]["content"]["application/json"]
        assert content["schema"]["properties"]["inputs"]["items"]["properties"]["shape"]["prefixItems"][
            1
        ] == {"const": width}
        assert client.post(f"/v2/models/{model}/infer", json=content["example"]).status_code == 200
    for path, query in (("/predict", ""), ("/invocations", "?model=breast_cancer")):
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert client.post(path + query, json=example).status_code == 200


def test_the_page_loads_nothing_from_elsewhere(client: FlaskClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) == 3
    for asset in assets:
        assert asset.startswith("/")
        assert client.get(asset).status_code == 200


@pytest.mark.parametrize("path", ["/docs/../app.py", "/docs/%2e%2e/app.py", "/docs/nothing.js", "/docs/"])
def test_nothing_else_is_served_from_there(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404

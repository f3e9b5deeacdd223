"""/openapi.json."""

from __future__ import annotations

from flask.testing import FlaskClient


def test_each_model_is_described_with_its_width_and_an_example_that_works(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    assert document["openapi"] == "3.1.0"
    for model, width in (("iris", 4), ("breast_cancer", 30)):
        operation = document["paths"][f"/v2/models/{model}/infer"]["post"]
        assert operation["responses"].keys() == {"200", "400", "404", "413", "415", "429"}
        content = operation["requestBody"]["content"]["application/json"]
        assert content["schema"]["properties"]["inputs"]["items"]["properties"]["shape"]["prefixItems"][
            1
        ] == {"const": width}
        assert client.post(f"/v2/models/{model}/infer", json=content["example"]).status_code == 200
    for path, query in (("/predict", ""), ("/invocations", "?model=breast_cancer")):
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert client.post(path + query, json=example).status_code == 200

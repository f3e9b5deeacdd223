"""The Open Inference Protocol: metadata, inference, and requests that are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from unit.model_endpoint.inference import ROWS, SETOSA, binary_input, post, tensor


@pytest.mark.parametrize("data", [SETOSA, [SETOSA]], ids=["flat", "nested"])
@pytest.mark.parametrize("path", ["/v2/models/iris/infer", "/v2/models/iris/versions/1/infer"])
def test_infer_answers_flat_and_nested_data_with_all_outputs(
    client: FlaskClient, path: str, data: Any
) -> None:
    answer = client.post(path, json={"id": "7", "inputs": [tensor(data=data)]})
    assert answer.status_code == 200
    labels, probabilities = answer.get_json()["outputs"]
    assert (answer.get_json()["id"], answer.get_json()["model_name"], answer.get_json()["model_version"]) == (
        "7",
        "iris",
        "1",
    )
    assert labels == {"name": "predict", "datatype": "BYTES", "shape": [1], "data": ["setosa"]}
    assert (probabilities["name"], probabilities["shape"]) == ("predict_proba", [1, 3])
    assert sum(probabilities["data"]) == pytest.approx(1)


def test_infer_answers_with_the_requested_outputs_alone(client: FlaskClient) -> None:
    request = {"inputs": [tensor()], "outputs": [{"name": "predict_proba"}]}
    answer = client.post("/v2/models/iris/infer", json=request)
    assert [output["name"] for output in answer.get_json()["outputs"]] == ["predict_proba"]


def test_model_metadata_has_inputs_outputs_and_classes(client: FlaskClient) -> None:
    answer = client.get("/v2/models/breast_cancer").get_json()
    assert answer["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 30]}]
    assert [output["shape"] for output in answer["outputs"]] == [[-1], [-1, 2]]
    assert answer["parameters"]["classes"] == ["benign", "malignant"]


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/iris/ready"])
def test_health_and_server_metadata_are_served(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "inputs must be an array with one tensor"),
        ({"inputs": []}, "inputs must be an array with one tensor"),
        ({"inputs": [tensor(), tensor()]}, "inputs[0].name: 'input' is not a column of the model"),
        ({"inputs": [tensor()], "id": 7}, "id must be a string"),
        (
            {"inputs": [tensor()], "outputs": [{"name": "x"}]},
            "outputs[0].name: 'x' is not an output of the model",
        ),
        ({"inputs": [tensor()], "outputs": ["predict"]}, "outputs[0]"),
        ({"inputs": [tensor()], "outputs": {}}, "outputs must be an array"),
    ],
)
def test_a_bad_infer_request_is_refused(client: FlaskClient, request_: dict[str, Any], message: str) -> None:
    answer = client.post("/v2/models/iris/infer", json=request_)
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]


@pytest.mark.parametrize("by", ["parameter", "output"])
def test_outputs_are_binary_where_the_request_says_so(client: FlaskClient, by: str) -> None:
    request = binary_input()
    if by == "parameter":
        request["parameters"] = {"binary_data_output": True}
    else:
        binary = {"parameters": {"binary_data": True}}
        request["outputs"] = [{"name": "predict"} | binary, {"name": "predict_proba"} | binary]
    answer = post(client, request, ROWS.tobytes())
    assert answer.content_type == "application/octet-stream"
    length = int(answer.headers["Inference-Header-Content-Length"])
    labels, probabilities = json.loads(answer.data[:length])["outputs"]
    blob = answer.data[length:]
    assert labels["parameters"] == {"binary_data_size": 4 + 6 + 4 + 9}
    assert blob[:23] == b"\x06\0\0\0setosa\x09\0\0\0virginica"
    assert probabilities["parameters"] == {"binary_data_size": 48}
    assert "data" not in probabilities
    np.testing.assert_allclose(np.frombuffer(blob[23:], "<f8").reshape(2, 3).sum(axis=1), 1)

"""What the routes answer, to good requests and to bad ones."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of extreme values, which are refused
SETOSA = [5.1, 3.5, 1.4, 0.2]


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "input", "shape": [1, 4], "datatype": "FP64", "data": SETOSA} | changes


def test_predict(client: FlaskClient) -> None:
    answer = client.post("/predict", json={"model": "iris", "instances": [SETOSA, [6.3, 2.9, 5.6, 1.8]]})
    assert answer.status_code == 200
    assert answer.get_json() == {
        "predictions": ["setosa", "virginica"],
        "model": "iris",
        "model_version": "1",
    }


@pytest.mark.parametrize("data", [SETOSA, [SETOSA]], ids=["flat", "nested"])
@pytest.mark.parametrize("path", ["/v2/models/iris/infer", "/v2/models/iris/versions/1/infer"])
def test_infer(client: FlaskClient, path: str, data: Any) -> None:
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


def test_only_the_outputs_asked_for(client: FlaskClient) -> None:
    request = {"inputs": [tensor()], "outputs": [{"name": "predict_proba"}]}
    answer = client.post("/v2/models/iris/infer", json=request)
    assert [output["name"] for output in answer.get_json()["outputs"]] == ["predict_proba"]


def test_model_metadata(client: FlaskClient) -> None:
    answer = client.get("/v2/models/breast_cancer").get_json()
    assert answer["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 30]}]
    assert [output["shape"] for output in answer["outputs"]] == [[-1], [-1, 2]]
    assert answer["parameters"]["classes"] == ["benign", "malignant"]


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/iris/ready"])
def test_health_and_server_metadata(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_every_answer_says_who_gave_it(client: FlaskClient) -> None:
    for path in ("/v2", "/nowhere"):
        headers = client.get(path, headers={"X-Request-Id": "abc"}).headers
        assert (headers["X-Release"], headers["X-Endpoint"], headers["X-Request-Id"]) == (
            "r1",
            "node-a",
            "abc",
        )


@pytest.mark.parametrize("given", ["", "a b", "é", "x" * 129])
def test_a_request_id_that_could_forge_a_log_line_is_replaced(client: FlaskClient, given: str) -> None:
    first, second = (client.get("/v2", headers={"X-Request-Id": given}).headers["X-Request-Id"] for _ in "12")
    assert given not in (first, second)
    assert first != second


BAD_BODIES = [
    (b"", "not valid JSON"),
    (b"{", "not valid JSON"),
    (b"[]", "must be a JSON object, not an array"),
    (b'{"model": "iris", "instances": [[1, 2, 3, "\xff"]]}', "not valid JSON"),
    (b'{"model": "iris", "instances": [[1, 2, 3, NaN]]}', "not valid JSON"),
    (b'{"model": "iris", "instances": [[1, 2, 3, -Infinity]]}', "not valid JSON"),
    (b'{"model": "iris", "instances": [[1, 2, 3, 1e400]]}', "not valid JSON"),
    (b'{"model": "iris", "instances": ' + b"[" * 5000 + b"]" * 5000 + b"}", "not valid JSON"),
    (b'{"model": "iris"}', "instances: it must be an array of rows, not null"),
    (b'{"model": "iris", "instances": []}', "instances: it is empty"),
    (b'{"model": "iris", "instances": [[]]}', "instances[0]: it has 0 values, the model takes 4"),
    (b'{"model": "iris", "instances": [[1, 2, 3, 4], [1, 2, 3]]}', "instances[1]: it has 3 values"),
    (b'{"model": "iris", "instances": [1, 2, 3, 4]}', "instances[0]: a row must be an array of 4 numbers"),
    (
        b'{"model": "iris", "instances": [[1, 2, 3, "4"]]}',
        "instances[0][3]: it must be a number, not a string",
    ),
    (b'{"model": "iris", "instances": [[1, 2, 3, null]]}', "instances[0][3]: it must be a number, not null"),
    (
        b'{"model": "iris", "instances": [[1, 2, 3, true]]}',
        "instances[0][3]: it must be a number, not a boolean",
    ),
    (
        b'{"model": "iris", "instances": [[1, 2, 3, [4]]]}',
        "instances[0][3]: it must be a number, not an array",
    ),
    (
        b'{"model": "iris", "instances": [[1, 2, 3, 9007199254740993]]}',
        "instances[0][3]: 9007199254740993 is beyond",
    ),
    (
        b'{"model": "iris", "instances": [[1e308, 1e308, -1e308, 1e308]]}',
        "row 0 leads beyond the finite numbers",
    ),
    (b'{"model": 7, "instances": [[1, 2, 3, 4]]}', "model: it must be the name of one of"),
    (b'{"model": "iris", "rows": [[1, 2, 3, 4]]}', "rows: unknown field"),
    (
        b'{"model": "breast_cancer", "instances": [[' + b"1e300," * 29 + b"1]]}",
        "too large for float32",
    ),
]


@pytest.mark.parametrize(("body", "message"), BAD_BODIES)
def test_a_bad_predict_body_is_refused_with_the_place(client: FlaskClient, body: bytes, message: str) -> None:
    answer = client.post("/predict", data=body)
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]


BAD_TENSORS = [
    ({"name": "x"}, "inputs[0].name: the model's input is 'input', not 'x'"),
    ({"datatype": "FP65"}, "inputs[0].datatype"),
    ({"datatype": ["FP64"]}, "inputs[0].datatype"),
    ({"shape": [1, 3]}, "rows of 3 values, the model takes 4"),
    ({"shape": [0, 4]}, "inputs[0].shape"),
    ({"shape": [True, 4]}, "inputs[0].shape"),
    ({"shape": None}, "inputs[0].shape"),
    ({"shape": [2, 4]}, "inputs[0].data: it has 4 values, the shape [2, 4] needs 8"),
    ({"shape": [4]}, "inputs[0].shape"),
    ({"data": "1"}, "inputs[0].data: it must be an array, not a string"),
    ({"data": [[1, 2, 3]]}, "inputs[0].data[0]: it must be a row of 4 values"),
    ({"data": [[1, 2, 3, None]]}, "inputs[0].data[0][3]: it must be a number, not null"),
    ({"data": [1, 2, 3, "4"]}, "inputs[0].data[3]: it must be a number, not a string"),
    ({"data": [1, 2, 3, 0.5], "datatype": "INT64"}, "inputs[0].data[3]: it must be a whole number, not 0.5"),
    ({"data": [1, 2, 3, 128], "datatype": "INT8"}, "inputs[0].data[3]: 128 is beyond INT8"),
    ({"data": [1, 2, 3, -1], "datatype": "UINT8"}, "inputs[0].data[3]: -1 is beyond UINT8"),
    ({"data": [1, 2, 3, 1e39], "datatype": "FP32"}, "inputs[0].data[3]: 1e+39 is beyond FP32"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_TENSORS)
def test_a_bad_tensor_is_refused_with_the_place(
    client: FlaskClient, changes: dict[str, Any], message: str
) -> None:
    answer = client.post("/v2/models/iris/infer", json={"inputs": [tensor(**changes)]})
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "inputs: it must be an array with one tensor"),
        ({"inputs": []}, "inputs: it must be an array with one tensor"),
        ({"inputs": [tensor(), tensor()]}, "inputs: it must be an array with one tensor"),
        ({"inputs": [tensor()], "id": 7}, "id: it must be a string"),
        ({"inputs": [tensor()], "outputs": [{"name": "x"}]}, "outputs[0].name: 'x' is none of the model's"),
        ({"inputs": [tensor()], "outputs": ["predict"]}, "outputs[0]"),
        ({"inputs": [tensor()], "outputs": {}}, "outputs: it must be an array"),
    ],
)
def test_a_bad_infer_request_is_refused(client: FlaskClient, request_: dict[str, Any], message: str) -> None:
    answer = client.post("/v2/models/iris/infer", json=request_)
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]


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
def test_errors_are_json(client: FlaskClient, method: str, path: str, status: int) -> None:
    body = b" " * (2 << 20) if status == 413 else b"{}"
    answer = client.open(path, method=method, data=body)
    assert answer.status_code == status
    assert set(answer.get_json()) == {"error"}
    assert ("Allow" in answer.headers) == (status == 405)


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
def test_an_answer_does_not_grow_with_what_came_in(
    client: FlaskClient, path: str, headers: dict[str, str]
) -> None:
    method = "POST" if headers else "GET"
    answer = client.open(path, method=method, data=b"{}" if headers else None, headers=headers)
    assert 400 <= answer.status_code < 500
    assert len(answer.data) < 500

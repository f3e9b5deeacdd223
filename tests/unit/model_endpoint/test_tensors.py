"""Numbers of tensors, in JSON and in binary."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from unit.model_endpoint.inference import ROWS, binary_input, post, tensor

BAD_TENSORS = [
    ({"name": "x"}, "inputs[0].name: the model's input is 'input', not 'x'"),
    ({"datatype": "FP65"}, "inputs[0].datatype"),
    ({"datatype": ["FP64"]}, "inputs[0].datatype"),
    ({"shape": [1, 3]}, "rows of 3 values, the model takes 4"),
    ({"shape": [0, 4]}, "inputs[0].shape"),
    ({"shape": [True, 4]}, "inputs[0].shape"),
    ({"shape": None}, "inputs[0].shape"),
    ({"shape": [2, 4]}, "inputs[0].data has 4 values, the shape [2, 4] needs 8"),
    ({"shape": [4]}, "inputs[0].shape"),
    ({"data": "1"}, "inputs[0].data must be an array, not a string"),
    ({"data": [[1, 2, 3]]}, "inputs[0].data[0] must be a row of 4 values"),
    ({"data": [[1, 2, 3, None]]}, "inputs[0].data[0][3] must be a number, not null"),
    ({"data": [1, 2, 3, "4"]}, "inputs[0].data[3] must be a number, not a string"),
    ({"data": [1, 2, 3, 0.5], "datatype": "INT64"}, "inputs[0].data[3] must be a whole number, not 0.5"),
    ({"data": [1, 2, 3, 128], "datatype": "INT8"}, "inputs[0].data[3]: 128 is out of INT8's range"),
    ({"data": [1, 2, 3, -1], "datatype": "UINT8"}, "inputs[0].data[3]: -1 is out of UINT8's range"),
    ({"data": [1, 2, 3.5, 2**64]}, f"inputs[0].data[3]: {2**64} is beyond 2^53"),
    ({"data": [1, 2, 3, 2**64], "datatype": "UINT64"}, f"inputs[0].data[3]: {2**64} is beyond 2^53"),
    ({"data": [1, 2, 3, 1e39], "datatype": "FP32"}, "inputs[0].data[3]: 1e+39 is out of FP32's range"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_TENSORS)
def test_a_bad_tensor_is_refused_with_the_place(
    client: FlaskClient, changes: dict[str, Any], message: str
) -> None:
    answer = client.post("/v2/models/iris/infer", json={"inputs": [tensor(**changes)]})
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]


@pytest.mark.parametrize("number", [1, 2**64])
def test_a_value_that_is_nested_deeply_is_refused(client: FlaskClient, number: int) -> None:
    deep = f"{'[' * 1000}{number}{']' * 1000}"
    answer = client.post(
        "/v2/models/iris/infer", data=json.dumps({"inputs": [tensor()]}).replace("[1, 4]", deep)
    )
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [("FP64", "<f8"), ("FP32", "<f4"), ("FP16", "<f2"), ("INT8", "i1"), ("UINT64", "<u8")],
)
def test_binary_input_gives_the_answer_of_json_for_every_size(
    client: FlaskClient, datatype: str, dtype: str
) -> None:
    blob = ROWS.astype(dtype).tobytes()
    answer = post(client, binary_input(datatype, size=len(blob)), blob)
    expected = client.post(
        "/predict", json={"model": "iris", "instances": ROWS.astype(dtype).astype(float).tolist()}
    )
    assert answer.get_json()["outputs"][0]["data"] == expected.get_json()["predictions"]


JSON_INPUT = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
NAN = np.where(ROWS == 0.2, np.nan, ROWS)


@pytest.mark.parametrize(
    ("header", "blob", "length", "message"),
    [
        (
            binary_input(),
            ROWS.tobytes()[:-1],
            None,
            "binary_data_size is 64, but the body has 63 bytes after its JSON",
        ),
        (
            binary_input(size=63),
            ROWS.tobytes()[:-1],
            None,
            "inputs[0] has 63 bytes, the shape [2, 4] of FP64 needs 64",
        ),
        (
            binary_input(size="64"),
            ROWS.tobytes(),
            None,
            "binary_data_size is '64', but the body has 64 bytes after its JSON",
        ),
        (binary_input(size=-1), b"", None, "binary_data_size is -1, but the body has 0 bytes after its JSON"),
        (binary_input(shape=(1, 4)), ROWS.tobytes(), None, "the shape [1, 4] of FP64 needs 32"),
        (binary_input(shape=(10**12, 4)), ROWS.tobytes(), None, "needs 32000000000000"),
        (binary_input(data=[1]), ROWS.tobytes(), None, "as JSON or as binary, not both"),
        (binary_input(), NAN.tobytes(), None, "value 3 is nan, not a finite number"),
        (binary_input(), np.full((2, 4), np.inf).tobytes(), None, "value 0 is inf, not a finite number"),
        (binary_input("INT64"), np.full((2, 4), 2**60).tobytes(), None, "beyond 2^53"),
        (binary_input("BYTES"), ROWS.tobytes(), None, "inputs[0].datatype"),
        (JSON_INPUT, b"xx", None, "2 bytes after"),
        (
            binary_input(),
            b"",
            "100000",
            "Inference-Header-Content-Length must be a length within 108 bytes, not '100000'",
        ),
        (binary_input(), b"", "-1", "Inference-Header-Content-Length"),
        (binary_input(), b"", "x", "Inference-Header-Content-Length"),
        (binary_input(), b"", "5", "not valid JSON"),
        (
            binary_input() | {"parameters": {"binary_data_output": 1}},
            ROWS.tobytes(),
            None,
            "must be a boolean",
        ),
        (binary_input() | {"parameters": []}, ROWS.tobytes(), None, "parameters must be an object"),
    ],
)
def test_a_bad_binary_tensor_is_refused(
    client: FlaskClient, header: dict[str, Any], blob: bytes, length: str | None, message: str
) -> None:
    answer = post(client, header, blob, length)
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]

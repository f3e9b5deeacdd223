"""The binary tensor extension: by hand, and in test_server.py by tritonclient itself."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 2.9, 5.6, 1.8]])


def post(client: FlaskClient, header: dict[str, Any], blob: bytes, length: str | None = None) -> Any:
    text = json.dumps(header).encode()
    headers = {"Inference-Header-Content-Length": str(len(text)) if length is None else length}
    return client.post("/v2/models/iris/infer", data=text + blob, headers=headers)


def binary_input(
    datatype: str = "FP64", shape: tuple[int, ...] = (2, 4), size: Any = 64, **more: Any
) -> dict[str, Any]:
    tensor = {"name": "input", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
    return {"inputs": [tensor | more]}


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [("FP64", "<f8"), ("FP32", "<f4"), ("FP16", "<f2"), ("INT8", "i1"), ("UINT64", "<u8")],
)
def test_binary_input_of_every_size(client: FlaskClient, datatype: str, dtype: str) -> None:
    blob = ROWS.astype(dtype).tobytes()
    answer = post(client, binary_input(datatype, size=len(blob)), blob)
    expected = client.post(
        "/predict", json={"model": "iris", "instances": ROWS.astype(dtype).astype(float).tolist()}
    )
    assert answer.get_json()["outputs"][0]["data"] == expected.get_json()["predictions"]


@pytest.mark.parametrize("by", ["parameter", "output"])
def test_binary_output(client: FlaskClient, by: str) -> None:
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


JSON_INPUT = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
NAN = np.where(ROWS == 0.2, np.nan, ROWS)


@pytest.mark.parametrize(
    ("header", "blob", "length", "message"),
    [
        (binary_input(), ROWS.tobytes()[:-1], None, "it is 64, after the JSON are 63 bytes"),
        (
            binary_input(size=63),
            ROWS.tobytes()[:-1],
            None,
            "it has 63 bytes, the shape [2, 4] of FP64 needs 64",
        ),
        (binary_input(size="64"), ROWS.tobytes(), None, "it is '64', after the JSON are 64 bytes"),
        (binary_input(size=-1), b"", None, "it is -1, after the JSON are 0 bytes"),
        (binary_input(shape=(1, 4)), ROWS.tobytes(), None, "the shape [1, 4] of FP64 needs 32"),
        (binary_input(shape=(10**12, 4)), ROWS.tobytes(), None, "needs 32000000000000"),
        (binary_input(data=[1]), ROWS.tobytes(), None, "as JSON or as binary, not both"),
        (binary_input(), NAN.tobytes(), None, "value 3 is nan, not a finite number"),
        (binary_input(), np.full((2, 4), np.inf).tobytes(), None, "value 0 is inf, not a finite number"),
        (binary_input("INT64"), np.full((2, 4), 2**60).tobytes(), None, "beyond 2^53"),
        (binary_input("BYTES"), ROWS.tobytes(), None, "inputs[0].datatype"),
        (JSON_INPUT, b"xx", None, "2 bytes after"),
        (binary_input(), b"", "100000", "Inference-Header-Content-Length: '100000' is no length"),
        (binary_input(), b"", "-1", "Inference-Header-Content-Length"),
        (binary_input(), b"", "x", "Inference-Header-Content-Length"),
        (binary_input(), b"", "5", "not valid JSON"),
        (
            binary_input() | {"parameters": {"binary_data_output": 1}},
            ROWS.tobytes(),
            None,
            "must be a boolean",
        ),
        (binary_input() | {"parameters": []}, ROWS.tobytes(), None, "parameters: it must be an object"),
    ],
)
def test_a_bad_binary_tensor_is_refused(
    client: FlaskClient, header: dict[str, Any], blob: bytes, length: str | None, message: str
) -> None:
    answer = post(client, header, blob, length)
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]

"""Inference requests, for the tests of the protocol."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from flask.testing import FlaskClient

SETOSA = [5.1, 3.5, 1.4, 0.2]


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "input", "shape": [1, 4], "datatype": "FP64", "data": SETOSA} | changes


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

"""The Open Inference Protocol, version 2: https://github.com/kserve/open-inference-protocol."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import orjson

from model_endpoint import tensors
from model_endpoint.errors import RequestError
from model_endpoint.model import Model
from model_endpoint.predictors import Outputs, Rows

INPUT = "input"


def metadata(model: Model) -> dict[str, Any]:
    """The `$metadata_model_response` of the protocol; what it has no field for is under `parameters`."""
    card = model.card
    return {
        "name": card.name,
        "versions": [card.version],
        "platform": "sklearn",
        "inputs": [{"name": INPUT, "datatype": "FP64", "shape": [-1, model.width]}],
        "outputs": [
            {"name": output.name, "datatype": output.datatype, "shape": output.shape}
            for output in card.outputs
        ],
        "parameters": {
            "description": card.description,
            "features": [feature.name for feature in card.features],
            "classes": card.classes,
            "predictor": model.served_by,
        },
    }


def infer(model: Model, body: bytes) -> bytes:
    """Answer one `$inference_request`. Raises RequestError, whose message says where the fault lies."""
    request = tensors.parse(body)
    identity = request.get("id")
    if identity is not None and type(identity) is not str:
        raise RequestError(f"id: it must be a string, not {tensors.kind(identity)}")
    rows = _rows(request, model.width)
    wanted = _wanted(request, model)
    outputs = model.predict(rows)
    answer: dict[str, Any] = {
        "model_name": model.card.name,
        "model_version": model.card.version,
        "outputs": _tensors(model, outputs, wanted),
    }
    if identity is not None:
        answer["id"] = identity
    return orjson.dumps(answer)


def _rows(request: dict[str, Any], width: int) -> Rows:
    inputs = request.get("inputs")
    if type(inputs) is not list or len(inputs) != 1 or type(inputs[0]) is not dict:
        raise RequestError(f"inputs: it must be an array with one tensor, named {INPUT!r}")
    tensor = inputs[0]
    if (name := tensor.get("name")) != INPUT:
        raise RequestError(f"inputs[0].name: the model's input is {INPUT!r}, not {name!r}")
    datatype = tensor.get("datatype")
    if type(datatype) is not str or datatype not in tensors.NUMBERS:
        raise RequestError(
            f"inputs[0].datatype: it must be one of {', '.join(tensors.NUMBERS)}, not {datatype!r}"
        )
    shape = tensor.get("shape")
    if type(shape) is not list or len(shape) != 2 or any(type(size) is not int or size < 1 for size in shape):
        raise RequestError(
            f"inputs[0].shape: it must be [rows, {width}] with at least one row, not {shape!r}"
        )
    if shape[1] != width:
        raise RequestError(f"inputs[0].shape: rows of {shape[1]} values, the model takes {width}")
    data = tensor.get("data")
    if type(data) is not list:
        raise RequestError(f"inputs[0].data: it must be an array, not {tensors.kind(data)}")
    where = "inputs[0].data[{index}]"
    if data and type(data[0]) is list:
        where = "inputs[0].data[{row}][{column}]"
        for index, row in enumerate(data):
            if type(row) is not list or len(row) != width:
                raise RequestError(f"inputs[0].data[{index}]: it must be a row of {width} values")
        data = [value for row in data for value in row]
    if len(data) != prod(shape):
        raise RequestError(
            f"inputs[0].data: it has {len(data)} values, the shape {shape} needs {prod(shape)}"
        )
    floats = datatype.startswith("FP")
    values = tensors.numbers(data, width, where, tensors.EITHER if floats else tensors.INTEGERS)
    _check_range(values, datatype)
    return values.reshape(shape)


def _check_range(values: Rows, datatype: str) -> None:
    if datatype in ("FP64", "INT64"):
        return
    kind = tensors.NUMBERS[datatype]
    limits: Any = np.finfo(kind) if datatype == "FP32" else np.iinfo(kind)
    outside = (values < float(limits.min)) | (values > float(limits.max))
    if outside.any():
        at = int(outside.argmax())
        raise RequestError(f"inputs[0].data: value {at} is {values[at]:g}, beyond {datatype}")


def _wanted(request: dict[str, Any], model: Model) -> list[str] | None:
    """The names of the outputs asked for, None for all of them."""
    asked = request.get("outputs")
    if asked is None or asked == []:
        return None
    if type(asked) is not list:
        raise RequestError(f"outputs: it must be an array, not {tensors.kind(asked)}")
    known = [output.name for output in model.card.outputs]
    for index, output in enumerate(asked):
        if type(output) is not dict:
            raise RequestError(f"outputs[{index}]: it must be an object, not {tensors.kind(output)}")
        if (name := output.get("name")) not in known:
            raise RequestError(f"outputs[{index}].name: {name!r} is none of the model's: {', '.join(known)}")
    return [output["name"] for output in asked]


def _tensors(model: Model, outputs: Outputs, wanted: list[str] | None) -> list[dict[str, Any]]:
    return [
        {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(outputs[output.name].shape),
            "data": outputs[output.name].ravel().tolist(),
        }
        for output in model.card.outputs
        if wanted is None or output.name in wanted
    ]

"""The Open Inference Protocol, version 2, with its binary tensor extension. Runs in a worker.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md and
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol/binary-tensor-data-extension
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from model_endpoint.models import cells
from model_endpoint.models import rows as contract_rows
from model_endpoint.models.card import FURTHER, PREDICT, Output
from model_endpoint.models.cells import kind
from model_endpoint.models.contract import Columns, Input
from model_endpoint.models.errors import RequestError, quoted
from model_endpoint.models.model import Model, Models
from model_endpoint.models.predictor import Outputs, Rows
from model_endpoint.web import column_tensors, tensors
from model_endpoint.web.column_tensors import datatype_of, name_of, refuse_content_type
from model_endpoint.web.json_values import parse
from model_endpoint.web.responses import PredictionResponse

INPUT = "input"
EXTENSIONS = ["binary_tensor_data"]


def model_metadata(model: Model) -> dict[str, Any]:
    """The `$metadata_model_response` of the protocol; what the protocol has no field for is under `parameters`."""
    card = model.card
    return {
        "name": card.name,
        "versions": [card.version],
        "platform": model.kind.platform,
        "inputs": _described_inputs(model),
        "outputs": [
            {"name": output.name, "datatype": output.datatype, "shape": output.shape}
            for output in card.outputs
        ],
        "parameters": {
            "description": card.description,
            "features": [feature.values() for feature in card.features],
            "form": card.form,
            "classes": card.classes,
            "metrics": card.metrics,
            "training_data_sha256": card.training_data_sha256,
            "libraries": card.libraries,
            "predictor": model.served_by,
        },
    }


def _described_inputs(model: Model) -> list[dict[str, Any]]:
    """One tensor for a model of numbers, else one for each column."""
    card = model.card
    if card.numeric:
        return [{"name": INPUT, "datatype": card.input_datatype, "shape": [-1, model.width]}]
    return [
        {"name": name_of(feature), "datatype": datatype_of(feature), "shape": [-1]}
        for feature in card.features
    ]


def repository_index(models: Models, body: bytes) -> list[dict[str, str]]:
    """The index of the protocol's repository extension: all models are loaded, so `{"ready": true}` gives all too."""
    if body:
        ready = parse(body).get("ready")
        if ready is not None and type(ready) is not bool:
            raise RequestError(f"ready must be a boolean, not {kind(ready)}")
    return [
        {"name": model.card.name, "version": model.card.version, "state": "READY", "reason": ""}
        for model in models.values()
    ]


def infer(model: Model, body: bytes, json_length: str | None = None) -> PredictionResponse:
    """Answer one `$inference_request`.

    `json_length` is the header Inference-Header-Content-Length: the number of bytes of JSON before binary tensors.
    Raises RequestError, which names the wrong value.
    """
    binary = memoryview(b"")
    if json_length is not None:
        if not (json_length.isascii() and json_length.isdigit() and int(json_length) <= len(body)):
            length = quoted(json_length)
            raise RequestError(
                f"Inference-Header-Content-Length must be a length within {len(body)} bytes, not {length}"
            )
        binary = memoryview(body)[int(json_length) :]
        body = body[: int(json_length)]
    request = parse(body)
    identity = request.get("id")
    if identity is not None and type(identity) is not str:
        raise RequestError(f"id must be a string, not {kind(identity)}")
    inputs = request.get("inputs")
    wanted = _wanted(request, model)
    if model.plain and _is_one_tensor(inputs):
        rows = _rows(request, model.width, binary)
        outputs = _outputs(model, rows, wanted)
        response = _respond(model, identity, wanted, outputs, len(rows))
        response.values = rows, outputs[PREDICT]
        return response
    columns = _columns(request, model, binary)
    unknown, warnings = contract_rows.warn(model.card, columns, "inputs")
    given = contract_rows.prepare(model.card, columns)
    outputs = _outputs(model, given, wanted)
    response = _respond(model, identity, wanted, outputs, len(columns), warnings)
    response.unknown = unknown
    response.values = given, outputs[PREDICT]
    return response


def _outputs(model: Model, given: Input, wanted: list[tuple[Output, bool]]) -> Outputs:
    probabilities, more = False, []
    for output, _ in wanted:
        if output.name in FURTHER:
            more.append(output.name)
        elif output.name != PREDICT:
            probabilities = True
    if more:
        return model.predict(given, probabilities, more)
    return model.predict(given, probabilities)


def _is_one_tensor(inputs: Any) -> bool:
    """Whether the inputs are the one tensor of a model of numbers."""
    return (
        type(inputs) is list
        and len(inputs) == 1
        and type(inputs[0]) is dict
        and inputs[0].get("name") == INPUT
    )


def _columns(request: dict[str, Any], model: Model, binary: memoryview) -> Columns:
    """Read a tensor for each column, or the one tensor of a model of numbers. Raises RequestError."""
    inputs = request.get("inputs")
    if "parameters" in request:
        refuse_content_type(_parameters(request, ""), "")
    if type(inputs) is not list or not inputs or any(type(tensor) is not dict for tensor in inputs):
        words = (
            f"with one tensor, named {INPUT!r}" if model.card.numeric else "of tensors, one for each column"
        )
        raise RequestError(f"inputs must be an array {words}")
    tensor = inputs[0]
    name = name if type(name := tensor.get("name")) is str else None
    columns = {name_of(feature) for feature in model.card.features}
    if not model.card.numeric or len(inputs) > 1 or name in columns - {INPUT}:
        return column_tensors.read(model.card, inputs, binary)
    if name != INPUT:
        raise RequestError(
            f"inputs[0].name: the model's input is {INPUT!r}, not {quoted(tensor.get('name'))}; or send a tensor for "
            "each column"
        )
    return _one_tensor(tensor, model, binary)


def _one_tensor(tensor: dict[str, Any], model: Model, binary: memoryview) -> Columns:
    """Read the one tensor of a model of numbers of which some may be missing, narrow, whole or booleans.

    A boolean may be 1 or 0, as the tensor's datatype has it. Raises RequestError.
    """
    datatype, shape = _tensor_form(tensor, model.width)
    size = _parameters(tensor, "inputs[0].").get("binary_data_size")
    if size is None:
        if len(binary):
            raise RequestError(
                f"the body has {len(binary)} bytes after its JSON, which no input has as its binary_data_size"
            )
        matrix: list[list[Any]] | NDArray[Any] = _nested(tensor.get("data"), shape)
    else:
        matrix = _from_binary(tensor, size, datatype, shape, binary)
    arrays = []
    for at, feature in enumerate(model.card.features):

        def place(row: int, label: str = feature.label) -> str:
            return f"inputs[0].data[{row}].{label}"

        if isinstance(matrix, np.ndarray) and feature.type != "boolean":
            arrays.append(cells.read_array(feature, matrix[:, at], place))
            continue
        values = [row[at] for row in matrix]
        if feature.type == "boolean":
            values = [bool(value) if value in (0, 1) else value for value in values]
        else:
            values = column_tensors.of_datatype(values, datatype, place)
        arrays.append(cells.read(feature, values, place))
    return Columns(arrays)


def _nested(data: Any, shape: list[int]) -> list[list[Any]]:
    """The rows of a tensor's data in JSON, which may be flat. Raises RequestError."""
    count, width = shape
    if type(data) is not list:
        raise RequestError(f"inputs[0].data must be an array, not {kind(data)}")
    if data and type(data[0]) is not list:
        if len(data) != count * width:
            raise RequestError(
                f"inputs[0].data has {len(data)} values, the shape {shape} needs {count * width}"
            )
        return [data[at : at + width] for at in range(0, len(data), width)]
    if len(data) != count:
        raise RequestError(f"inputs[0].data has {len(data)} rows, the shape {shape} needs {count}")
    for at, row in enumerate(data):
        if type(row) is not list or len(row) != width:
            raise RequestError(f"inputs[0].data[{at}] must be a row of {width} values")
    return data


def _from_binary(
    tensor: dict[str, Any], size: Any, datatype: str, shape: list[int], binary: memoryview
) -> NDArray[Any]:
    dtype = tensors.NUMBERS[datatype]
    needed = shape[0] * shape[1] * dtype.itemsize
    if "data" in tensor:
        raise RequestError("inputs[0].data: give the data as JSON or as binary, not both")
    if size != len(binary) or size != needed:
        raise RequestError(
            f"inputs[0] has {len(binary)} bytes, the shape {shape} of {datatype} needs {needed}"
        )
    return np.frombuffer(binary, dtype).reshape(shape)


def _respond(
    model: Model,
    identity: str | None,
    wanted: list[tuple[Output, bool]],
    outputs: Outputs,
    rows: int,
    warnings: list[str] | None = None,
) -> PredictionResponse:
    """Make the `$inference_response` with the wanted outputs, binary ones after the JSON."""
    described: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for output, as_binary in wanted:
        array = outputs[output.name]
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(array.shape)}
        if as_binary:
            blobs.append(tensors.to_binary(array, output.datatype))
            entry["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            entry["data"] = _flat(array)
        described.append(entry)
    answer: dict[str, Any] = {
        "model_name": model.card.name,
        "model_version": model.card.version,
        "outputs": described,
    }
    if identity is not None:
        answer["id"] = identity
    if warnings:
        answer["parameters"] = {"warnings": warnings}
    text = orjson.dumps(answer)
    if not blobs:
        return PredictionResponse(text, model, rows)
    return PredictionResponse(text + b"".join(blobs), model, rows, len(text))


def _flat(array: NDArray[Any]) -> list[Any]:
    flat: list[Any] = array.ravel().tolist()
    return flat


def _parameters(owner: dict[str, Any], where: str) -> dict[str, Any]:
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise RequestError(f"{where}parameters must be an object, not {kind(parameters)}")
    return parameters


def _flag(parameters: dict[str, Any], name: str, default: bool, where: str) -> bool:
    flag = parameters.get(name, default)
    if type(flag) is not bool:
        raise RequestError(f"{where}parameters.{name} must be a boolean, not {kind(flag)}")
    return flag


def _tensor_form(tensor: dict[str, Any], width: int) -> tuple[str, list[int]]:
    """The datatype and the shape of the one tensor of a model of numbers. Raises RequestError."""
    datatype = tensor.get("datatype")
    if type(datatype) is not str or datatype not in tensors.NUMBERS:
        known = ", ".join(tensors.NUMBERS)
        raise RequestError(f"inputs[0].datatype must be one of {known}, not {quoted(datatype)}")
    shape = tensor.get("shape")
    if width == 1 and type(shape) is list and len(shape) == 1:
        shape = [*shape, 1]
    if type(shape) is not list or len(shape) != 2 or any(type(size) is not int or size < 1 for size in shape):
        raise RequestError(
            f"inputs[0].shape must be [rows, {width}] with at least one row, not {quoted(shape)}"
        )
    if shape[1] != width:
        raise RequestError(f"inputs[0].shape: rows of {shape[1]} values, the model takes {width}")
    return datatype, shape


def _rows(request: dict[str, Any], width: int, binary: memoryview) -> Rows:
    tensor = request["inputs"][0]
    datatype, shape = _tensor_form(tensor, width)
    size = _parameters(tensor, "inputs[0].").get("binary_data_size")
    if size is None:
        if len(binary):
            raise RequestError(
                f"the body has {len(binary)} bytes after its JSON, which no input has as its binary_data_size"
            )
        return tensors.rows_from_json(tensor.get("data"), datatype, shape, "inputs[0].data")
    where = "inputs[0].parameters.binary_data_size"
    if type(size) is not int or size != len(binary):
        raise RequestError(f"{where} is {quoted(size)}, but the body has {len(binary)} bytes after its JSON")
    if "data" in tensor:
        raise RequestError("inputs[0].data: give the data as JSON or as binary, not both")
    return tensors.rows_from_binary(binary, datatype, shape, "inputs[0]")


def _wanted(request: dict[str, Any], model: Model) -> list[tuple[Output, bool]]:
    """The requested outputs, or all if the request names none, each with whether it must be binary."""
    all_binary = False
    if "parameters" in request:
        all_binary = _flag(_parameters(request, ""), "binary_data_output", False, "")
    asked = request.get("outputs")
    if asked is None or asked == []:
        return [(output, all_binary) for output in model.usual_outputs]
    if type(asked) is not list:
        raise RequestError(f"outputs must be an array, not {kind(asked)}")
    wanted: dict[str, tuple[Output, bool]] = {}
    for index, output in enumerate(asked):
        if type(output) is not dict:
            raise RequestError(f"outputs[{index}] must be an object, not {kind(output)}")
        name = output.get("name")
        if type(name) is not str or name not in model.outputs:
            known = ", ".join(model.outputs)
            raise RequestError(
                f"outputs[{index}].name: {quoted(name)} is not an output of the model; its outputs are {known}"
            )
        if name in wanted:
            raise RequestError(f"outputs[{index}].name: {name!r} is requested twice")
        where = f"outputs[{index}]."
        binary = _flag(_parameters(output, where), "binary_data", all_binary, where)
        wanted[name] = (model.outputs[name], binary)
    return list(wanted.values())

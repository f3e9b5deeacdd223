"""A tensor a column, in JSON and in binary, as clients of the protocol send a data frame. Runs in a worker."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models import cells
from model_endpoint.models.card import Card
from model_endpoint.models.cells import Place, kind
from model_endpoint.models.contract import Columns, Feature
from model_endpoint.models.errors import RequestError, quoted
from model_endpoint.web.tensors import NUMBERS

BOOL, BYTES = "BOOL", "BYTES"
DATATYPES = (*NUMBERS, BOOL, BYTES)
# What a client of MLServer says of a tensor; none of them changes what the contract says of the column.
CONTENT_TYPES = frozenset({"pd", "np", "str", "datetime"})
Tensor = dict[str, Any]


def name_of(feature: Feature) -> str:
    """The name of a column's tensor."""
    return feature.name or "input"


def datatype_of(feature: Feature) -> str:
    """The datatype in which the model's metadata describes a column."""
    dtype = cells.numpy_dtype(feature)
    if feature.type == "category":
        kinds = {type(value) for value in feature.categories or [""]}
        return {frozenset({int}): "INT64", frozenset({bool}): BOOL, frozenset({str}): BYTES}.get(
            frozenset(kinds), "FP64"
        )
    if feature.type == "integer":
        return next((name for name, known in NUMBERS.items() if known == dtype.newbyteorder("<")), "INT64")
    if feature.type == "number":
        return "FP32" if dtype == np.float32 else "FP64"
    return BOOL if feature.type == "boolean" else BYTES


def read(card: Card, tensors: list[Any], binary: memoryview) -> Columns:
    """Read a tensor for each column, in any order. Raises RequestError, which names the wrong value."""
    names = [tensor.get("name") if type(tensor) is dict else None for tensor in tensors]
    features = {name_of(feature): feature for feature in card.features}
    found: dict[str, NDArray[Any]] = {}
    start, rows = 0, None
    for at, (name, tensor) in enumerate(zip(names, tensors, strict=True)):
        if type(name) is not str or name not in features or name in found:
            twice = "appears twice" if type(name) is str and name in found else "is not a column of the model"
            known = ", ".join(list(features)[:50])
            raise RequestError(f"inputs[{at}].name: {quoted(name)} {twice}; its columns are {known}")
        where = f"inputs[{at}] ({name})"
        count = _count(tensor, where)
        if rows is not None and count != rows:
            raise RequestError(f"{where}.shape: {count} rows, the first tensor has {rows}")
        rows = count
        size = _size(tensor, where)
        if size is None:
            found[name] = _from_json(features[name], tensor, count, where)
        else:
            if "data" in tensor:
                raise RequestError(f"{where}.data: give the data as JSON or as binary, not both")
            if start + size > len(binary):
                raise RequestError(f"{where}: its binary_data_size {size} is more than the body has left")
            found[name] = _from_binary(features[name], tensor, count, binary[start : start + size], where)
            start += size
    if start != len(binary):
        raise RequestError(f"the body has {len(binary) - start} bytes after its JSON that no input has")
    for name in features:
        if name not in found:
            raise RequestError(f"inputs: a tensor named {name!r} is missing")
    return Columns([found[name_of(feature)] for feature in card.features])


def refuse_content_type(parameters: dict[str, Any], where: str) -> None:
    """Raise RequestError for a content type that asks for another reading than the contract's."""
    content_type = parameters.get("content_type")
    if content_type is not None and (type(content_type) is not str or content_type not in CONTENT_TYPES):
        known = ", ".join(sorted(CONTENT_TYPES))
        raise RequestError(
            f"{where}parameters.content_type: {quoted(content_type)} is not taken; send one of {known}"
        )


def _count(tensor: Tensor, where: str) -> int:
    """The number of rows of a tensor of shape [n] or [n, 1]."""
    shape = tensor.get("shape")
    if (
        type(shape) is not list
        or not 1 <= len(shape) <= 2
        or any(type(size) is not int or size < 1 for size in shape)
        or shape[1:] not in ([], [1])
    ):
        raise RequestError(
            f"{where}.shape must be [rows] or [rows, 1] with at least one row, not {quoted(shape)}"
        )
    return int(shape[0])


def _size(tensor: Tensor, where: str) -> int | None:
    parameters = tensor.get("parameters")
    if parameters is None:
        return None
    if type(parameters) is not dict:
        raise RequestError(f"{where}.parameters must be an object, not {kind(parameters)}")
    refuse_content_type(parameters, f"{where}.")
    size = parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise RequestError(f"{where}.parameters.binary_data_size must be a whole number, not {quoted(size)}")
    return size


def _datatype(tensor: Tensor, where: str) -> str:
    datatype = tensor.get("datatype")
    if type(datatype) is not str or datatype not in DATATYPES:
        raise RequestError(f"{where}.datatype must be one of {', '.join(DATATYPES)}, not {quoted(datatype)}")
    return datatype


def _place(where: str) -> Place:
    return lambda at: f"{where}.data[{at}]"


def _from_json(feature: Feature, tensor: Tensor, count: int, where: str) -> NDArray[Any]:
    datatype, values = _datatype(tensor, where), tensor.get("data")
    if type(values) is not list:
        raise RequestError(f"{where}.data must be an array, not {kind(values)}")
    if values and all(type(value) is list and len(value) == 1 for value in values):
        values = [value[0] for value in values]
    if len(values) != count:
        raise RequestError(f"{where}.data has {len(values)} values, its shape needs {count}")
    return cells.read(feature, of_datatype(values, datatype, _place(where)), _place(where))


def of_datatype(values: list[Any], datatype: str, place: Place) -> list[Any]:
    """The values as the datatype has them, None for a missing one. Raises RequestError for one that it has not."""
    numbers: set[type] = {int, float} if datatype.startswith("FP") else {int}
    right = {bool} if datatype == BOOL else {str} if datatype == BYTES else numbers
    for at, value in enumerate(values):
        if value is not None and type(value) not in right:
            raise RequestError(f"{place(at)} is {cells.shown(value)}, which is no {datatype}")
    if datatype not in NUMBERS or datatype == "FP64":
        return values
    dtype = NUMBERS[datatype]
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    low, high = (float(limits.min), float(limits.max)) if dtype.kind == "f" else (limits.min, limits.max)
    for at, value in enumerate(values):
        if value is not None and not low <= value <= high:
            raise RequestError(f"{place(at)}: {value} is out of {datatype}'s range")
    if dtype.kind == "f":
        return [None if value is None else float(dtype.type(value)) for value in values]
    return values


def _from_binary(feature: Feature, tensor: Tensor, count: int, data: memoryview, where: str) -> NDArray[Any]:
    datatype = _datatype(tensor, where)
    if datatype == BYTES:
        return cells.read(feature, _texts(data, count, where), _place(where))
    dtype = np.dtype("?") if datatype == BOOL else NUMBERS[datatype]
    if len(data) != count * dtype.itemsize:
        needed = count * dtype.itemsize
        raise RequestError(f"{where} has {len(data)} bytes, the shape [{count}] of {datatype} needs {needed}")
    return cells.read_array(feature, np.frombuffer(data, dtype), _place(where))


def _texts(data: memoryview, count: int, where: str) -> list[str]:
    """The texts of a binary BYTES tensor, each after its length in four bytes."""
    texts, start = [], 0
    for at in range(count):
        end = start + 4
        length = int.from_bytes(data[start:end], "little")
        if end + length > len(data):
            raise RequestError(
                f"{where}: value {at} is cut off; each needs its length in 4 bytes, then its text"
            )
        try:
            texts.append(bytes(data[end : end + length]).decode())
        except UnicodeDecodeError as error:
            raise RequestError(f"{where}: value {at} is not UTF-8: {error}") from None
        start = end + length
    if start != len(data):
        raise RequestError(f"{where} has {len(data) - start} bytes after its {count} values")
    return texts

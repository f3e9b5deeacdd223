"""The JSON schemas of a model's rows and tensors, made from its contract. Runs in a worker."""

from __future__ import annotations

from typing import Any

from model_endpoint.models.contract import DICTS, NOT_TAKEN, Feature
from model_endpoint.models.model import Model
from model_endpoint.web import tensors
from model_endpoint.web.column_tensors import BOOL, BYTES, datatype_of, name_of

Schema = dict[str, Any]
JSON_TYPES = {
    "number": "number",
    "integer": "integer",
    "boolean": "boolean",
    "string": "string",
    "datetime": "string",
}
MOST_CATEGORIES = 200  # that a schema lists


def cell(feature: Feature) -> Schema:
    """The schema of one value; what training had besides is told in words."""
    if feature.type == "category" or feature.unknown == NOT_TAKEN:
        schema = _choice(feature)
    else:
        schema = {"type": JSON_TYPES[feature.takes]}
        if feature.type == "datetime":
            schema["format"] = "date-time"
    if feature.missing:
        schema["type"] = (
            [schema["type"], "null"] if isinstance(schema["type"], str) else [*schema["type"], "null"]
        )
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    if words := _words(feature):
        schema["description"] = words
    return schema


def row(model: Model) -> Schema:
    """The schema of one row: an array of numbers for a plain contract, else an array, an object, or a plain value."""
    features = model.card.features
    if model.plain:
        return {
            "type": "array",
            "description": ", ".join(feature.name for feature in features),
            "items": {"type": "number"},
            "minItems": model.width,
            "maxItems": model.width,
        }
    if len(features) == 1 and not features[0].name:
        return cell(features[0])
    array = {
        "type": "array",
        "description": ", ".join(feature.name for feature in features),
        "prefixItems": [cell(feature) for feature in features],
        "minItems": model.width,
        "maxItems": model.width,
    }
    properties = {feature.name: cell(feature) for feature in features}
    required = [] if model.card.form == DICTS else list(properties)
    named = {"type": "object", "required": required, "properties": properties, "additionalProperties": False}
    return {"oneOf": [named, array]}


def tensor_of_numbers(model: Model, name: str) -> Schema:
    """The schema of the one tensor of a model of numbers."""
    return _tensor(
        name,
        {"enum": list(tensors.NUMBERS)},
        {
            "type": "array",
            "prefixItems": [{"type": "integer", "minimum": 1}, {"const": model.width}],
            "minItems": 2,
            "maxItems": 2,
        },
        {"type": "array", "items": {"anyOf": [{"type": ["number", "boolean", "null"]}, row(model)]}},
    )


def tensor_of_column(feature: Feature) -> Schema:
    """The schema of a column's tensor."""
    shape = {
        "type": "array",
        "prefixItems": [{"type": "integer", "minimum": 1}, {"const": 1}],
        "minItems": 1,
        "maxItems": 2,
    }
    datatype = datatype_of(feature)
    datatypes = [datatype] if datatype in (BOOL, BYTES) else list(tensors.NUMBERS)
    return _tensor(name_of(feature), {"enum": datatypes}, shape, {"type": "array", "items": cell(feature)})


def _tensor(name: str, datatype: Schema, shape: Schema, data: Schema) -> Schema:
    return {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"const": name},
            "shape": shape,
            "datatype": datatype,
            "data": data,
            "parameters": {"type": "object"},
        },
    }


def _choice(feature: Feature) -> Schema:
    categories = feature.categories or []
    kinds = sorted({_json_type(value) for value in categories}) or ["string"]
    schema: Schema = {"type": kinds[0] if len(kinds) == 1 else kinds}
    if feature.unknown == NOT_TAKEN and len(categories) <= MOST_CATEGORIES:
        schema["enum"] = list(categories)
    return schema


def _json_type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number"}
    return names.get(type(value), "string")


def _words(feature: Feature) -> str:
    words = []
    if feature.minimum is not None:
        words.append(f"Training had {feature.minimum} to {feature.maximum}.")
    if feature.categories is not None and feature.unknown not in (None, NOT_TAKEN):
        first = ", ".join(str(value) for value in feature.categories[:MOST_CATEGORIES])
        words.append(f"Training had {first}; any other is {feature.unknown}.")
    if not feature.read:
        words.append("The model does not read it.")
    return " ".join(words)

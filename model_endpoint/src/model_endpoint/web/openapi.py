"""The OpenAPI 3.1 document of the routes, made from the models' cards. Runs in a worker."""

from __future__ import annotations

from typing import Any

from model_endpoint.models.model import Model, Models
from model_endpoint.runtime.settings import Settings
from model_endpoint.web import schemas, v2
from model_endpoint.web.column_tensors import datatype_of, name_of

ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}


def document(models: Models, settings: Settings) -> dict[str, Any]:
    """Describe the routes; each model has paths of its own, with its features and an example."""
    paths: dict[str, Any] = {
        "/v2": {"get": _get("What this server is", _object(name="string", version="string"))},
        "/v2/health/live": {"get": _get("Whether the server lives", _object(live="boolean"))},
        "/v2/health/ready": {"get": _get("Whether every model is ready", _object(ready="boolean"))},
        "/v2/repository/index": {
            "post": _post("The models", {"type": "object"}, {}, {"type": "array"}, required=False)
        },
        "/predict": {"post": _predict(models)},
        "/invocations": {"post": _invocations(models)},
    }
    for name, model in models.items():
        version = f"/v2/models/{name}/versions/{model.card.version}"
        for path in (f"/v2/models/{name}", version):
            paths[path] = {
                "get": _get(f"What {name} is", {"type": "object", "required": ["inputs", "outputs"]})
            }
            paths[f"{path}/ready"] = {
                "get": _get(f"Whether {name} is ready", _object(name="string", ready="boolean"))
            }
            paths[f"{path}/infer"] = {"post": _infer(model)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Flotilla model endpoint",
            "version": settings.release,
            "description": "scikit-learn models over the Open Inference Protocol v2 and two plain routes.",
        },
        "paths": paths,
    }


def _object(**fields: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(fields),
        "properties": {name: {"type": kind} for name, kind in fields.items()},
    }


def _content(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema, **more}}


def _errors(*statuses: int) -> dict[str, Any]:
    words = {400: "The request is wrong; the error says where", 404: "There is no such model or version"}
    words |= {
        413: "The body is too large, or has too many rows",
        415: "The body's type or encoding is not taken",
        429: "The endpoint has too many large requests; try again",
    }
    return {str(status): {"description": words[status], "content": _content(ERROR)} for status in statuses}


def _get(summary: str, answer: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": "It is", "content": _content(answer)}}}


def _post(
    summary: str,
    body: dict[str, Any],
    example: dict[str, Any],
    answer: dict[str, Any],
    *,
    required: bool = True,
) -> dict[str, Any]:
    return {
        "summary": summary,
        "requestBody": {"required": required, "content": _content(body, example=example)},
        "responses": {"200": {"description": "The answer", "content": _content(answer)}}
        | _errors(400, 404, 413, 415, 429),
    }


def _bodies(models: Models, fields: tuple[str, ...]) -> dict[str, Any]:
    """The bodies as one alternative a model, with those of the fields `model` and `instances` that `fields` names."""
    bodies = []
    for name, model in models.items():
        properties = {
            "model": {"const": name},
            "instances": {"type": "array", "items": schemas.row(model), "minItems": 1},
            "outputs": {"type": "array", "items": {"enum": list(model.outputs)}},
        }
        bodies.append(
            {
                "type": "object",
                "title": name,
                "required": [field for field in fields if field != "outputs"],
                "properties": {field: properties[field] for field in fields},
                "additionalProperties": False,
            }
        )
    return {"oneOf": bodies}


PREDICTIONS = {
    "type": "object",
    "required": ["predictions", "model", "model_version"],
    "properties": {
        "predictions": {"type": "array"},
        "model": {"type": "string"},
        "model_version": {"type": "string"},
        "outputs": {"type": "object"},
        "warnings": {"type": "array", "items": {"type": "string"}},
    },
}


def _predict(models: Models) -> dict[str, Any]:
    name, model = next(iter(models.items()))
    example = {"model": name, "instances": model.golden[0]["rows"]}
    return _post(
        "Predict labels or values", _bodies(models, ("model", "instances", "outputs")), example, PREDICTIONS
    )


def _invocations(models: Models) -> dict[str, Any]:
    name, model = next(iter(models.items()))
    body = _bodies(models, ("instances",))
    summary = "Predict in one of MLflow's forms"
    operation = _post(summary, body, {"instances": model.golden[0]["rows"]}, PREDICTIONS)
    # The name may be left out only where one model is served.
    schema = {"enum": list(models)}
    operation["parameters"] = [
        {"name": "model", "in": "query", "required": len(models) > 1, "schema": schema, "example": name}
    ]
    operation["requestBody"]["content"]["text/csv"] = {"schema": {"type": "string"}}
    return operation


def _infer(model: Model) -> dict[str, Any]:
    inputs = _inputs(model)
    wanted: dict[str, Any] = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"enum": list(model.outputs)}},
    }
    body = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": inputs,
            "outputs": {"type": "array", "items": wanted},
            "parameters": {"type": "object"},
        },
    }
    given: dict[str, Any] = {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {"name": {"enum": list(model.outputs)}, "data": {"type": "array"}},
    }
    answer = {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {"outputs": {"type": "array", "items": given}, "id": {"type": "string"}},
    }
    return _post(f"Ask {model.card.name}", body, {"inputs": _example(model)}, answer)


def _inputs(model: Model) -> dict[str, Any]:
    """The schema of an infer request's inputs: one tensor of numbers, or a tensor for each column."""
    if model.card.numeric:
        items, count = schemas.tensor_of_numbers(model, v2.INPUT), 1
    else:
        items = {"oneOf": [schemas.tensor_of_column(feature) for feature in model.card.features]}
        count = model.width
    return {"type": "array", "items": items, "minItems": count, "maxItems": count}


def _example(model: Model) -> list[dict[str, Any]]:
    rows = model.golden[0]["rows"]
    if model.card.numeric:
        shape = [len(rows), model.width]
        return [{"name": v2.INPUT, "shape": shape, "datatype": model.card.input_datatype, "data": rows}]
    tensors = []
    for at, feature in enumerate(model.card.features):
        if isinstance(rows[0], dict):
            data = [row.get(feature.name) for row in rows]
        else:
            data = [row[at] for row in rows] if isinstance(rows[0], list) else rows
        datatype = datatype_of(feature)
        tensors.append({"name": name_of(feature), "shape": [len(rows)], "datatype": datatype, "data": data})
    return tensors

"""The plain route beside the protocol: rows in, labels or values out."""

from __future__ import annotations

import orjson

from model_endpoint import tensors
from model_endpoint.errors import RequestError
from model_endpoint.model import Model, Models


def predict(models: Models, body: bytes) -> bytes:
    """Answer `{"model": name, "instances": [[…], …]}`. Raises RequestError saying where the fault lies."""
    request = tensors.parse(body)
    unknown = sorted(set(request) - {"model", "instances"})
    if unknown:
        raise RequestError(f"{unknown[0]}: unknown field; give model and instances")
    model = find(models, request.get("model"))
    rows = tensors.rows_from_nested(request.get("instances"), model.width, "instances")
    return orjson.dumps(
        {
            "predictions": model.predict(rows)["predict"].tolist(),
            "model": model.card.name,
            "model_version": model.card.version,
        }
    )


def find(models: Models, name: object) -> Model:
    """The model of this name; raises RequestError when the request names none, or one that is not served."""
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if type(name) is not str:
        raise RequestError(f"model: it must be the name of one of {', '.join(models)}")
    if name not in models:
        raise RequestError(f"model: {name!r} is not served here; the models are {', '.join(models)}", 404)
    return models[name]

"""The plain routes beside the protocol: `/predict`, and `/invocations` in MLflow's forms.

The latter as in https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson

from model_endpoint import tensors
from model_endpoint.answer import Answer
from model_endpoint.errors import RequestError
from model_endpoint.model import Model, Models
from model_endpoint.predictors import Rows

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def predict(models: Models, body: bytes) -> Answer:
    """Answer `{"model": name, "instances": [[…], …]}`. Raises RequestError saying where the fault lies."""
    request = tensors.parse(body)
    _only(request, "model", "instances")
    model = find(models, request.get("model"))
    return _answer(model, tensors.rows_from_nested(request.get("instances"), model.width, "instances"))


def invocations(model: Model, body: bytes) -> Answer:
    """Answer one of MLflow's JSON forms. Raises RequestError saying where the fault lies."""
    request = tensors.parse(body)
    given = [form for form in FORMS if form in request]
    if len(given) != 1:
        raise RequestError(f"the body must have exactly one of {', '.join(FORMS)}")
    _only(request, given[0], "params")
    return _answer(model, _FORMS[given[0]](model, request[given[0]], given[0]))


def invocations_csv(model: Model, body: bytes) -> Answer:
    """Answer rows in CSV under a header of feature names. Raises RequestError naming line and column."""
    try:
        lines = list(csv.reader(io.StringIO(body.decode()), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"the body is not valid CSV: {error}") from None
    if len(lines) < 2:
        raise RequestError("the body must be CSV with a header and at least one line")
    order = _order(model, lines[0], "line 1")
    rows: list[list[Any]] = []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(order):
            raise RequestError(f"line {number}: it has {len(line)} values, the header has {len(order)}")
        row = [_csv_number(line[at], f"line {number}, {lines[0][at]}") for at in order]
        rows.append(row)
    return _answer(model, tensors.rows_from_nested(rows, model.width, "rows"))


def find(models: Models, name: object) -> Model:
    """The model of this name; raises RequestError when there is no name, or no such model."""
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if type(name) is not str:
        raise RequestError(f"model: it must be the name of one of {', '.join(models)}")
    if name not in models:
        known = ", ".join(models)
        raise RequestError(f"model: {tensors.shown(name)} is not served here; the models are {known}", 404)
    return models[name]


def _answer(model: Model, rows: Rows) -> Answer:
    content = {
        "predictions": model.predict(rows, probabilities=False)["predict"].tolist(),
        "model": model.card.name,
        "model_version": model.card.version,
    }
    return Answer(orjson.dumps(content), model, len(rows))


def _only(request: dict[str, Any], *known: str) -> None:
    for name in request:
        if name not in known:
            raise RequestError(f"{name[:100]}: unknown field; give {' and '.join(known)}")


def _order(model: Model, columns: Any, where: str) -> list[int]:
    """Where in `columns` each feature stands. Raises RequestError for one missing, unknown or repeated."""
    if type(columns) is not list:
        raise RequestError(
            f"{where}: it must be an array of the features' names, not {tensors.kind(columns)}"
        )
    names = [feature.name for feature in model.card.features]
    places: dict[str, int] = {}
    for at, column in enumerate(columns):
        if type(column) is not str or column not in names:
            raise RequestError(
                f"{where}: {tensors.shown(column)} is no feature of the model: {', '.join(names)}"
            )
        if column in places:
            raise RequestError(f"{where}: {column!r} is there twice")
        places[column] = at
    for name in names:
        if name not in places:
            raise RequestError(f"{where}: {name!r} is missing")
    return [places[name] for name in names]


def _split(model: Model, value: Any, where: str) -> Rows:
    if type(value) is not dict:
        raise RequestError(f"{where}: it must be an object with columns and data, not {tensors.kind(value)}")
    rows = tensors.rows_from_nested(value.get("data"), model.width, f"{where}.data")
    if value.get("columns") is None:
        return rows
    return rows[:, _order(model, value["columns"], f"{where}.columns")]


def _records(model: Model, value: Any, where: str) -> Rows:
    if type(value) is not list:
        raise RequestError(f"{where}: it must be an array of objects, not {tensors.kind(value)}")
    rows = []
    for index, record in enumerate(value):
        if type(record) is not dict:
            raise RequestError(f"{where}[{index}]: it must be an object, not {tensors.kind(record)}")
        _order(model, list(record), f"{where}[{index}]")
        rows.append([record[feature.name] for feature in model.card.features])
    return tensors.rows_from_nested(rows, model.width, where)


def _instances(model: Model, value: Any, where: str) -> Rows:
    if type(value) is list and value and type(value[0]) is dict:
        return _records(model, value, where)
    return tensors.rows_from_nested(value, model.width, where)


def _inputs(model: Model, value: Any, where: str) -> Rows:
    """Rows, or an object with an array of values for each feature."""
    if type(value) is not dict:
        return _instances(model, value, where)
    _order(model, list(value), where)
    columns = [value[feature.name] for feature in model.card.features]
    for feature, column in zip(model.card.features, columns, strict=True):
        if type(column) is not list or len(column) != len(columns[0] if type(columns[0]) is list else ()):
            raise RequestError(f"{where}.{feature.name}: the features need arrays of one length")
    return tensors.rows_from_nested([list(row) for row in zip(*columns, strict=True)], model.width, where)


_FORMS = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
}


def _csv_number(text: str, where: str) -> Any:
    """A number as JSON has it, so that CSV can't bring in what JSON keeps out: nan, inf, 1_000, blanks."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise RequestError(f"{where}: it must be a number, not {tensors.shown(text)}") from None

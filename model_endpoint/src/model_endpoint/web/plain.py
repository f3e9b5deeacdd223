"""The handlers of the plain routes: `/predict`, and `/invocations` in MLflow's forms. Runs in a worker.

The source of MLflow's forms is https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson

from model_endpoint.models.errors import RequestError, quoted
from model_endpoint.models.model import Model, Models, find
from model_endpoint.models.predictor import Rows
from model_endpoint.web import tensors
from model_endpoint.web.json_values import kind, parse
from model_endpoint.web.responses import PredictionResponse

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def predict(models: Models, body: bytes) -> PredictionResponse:
    """Answer `{"model": name, "instances": [[…], …]}`. Raises RequestError, which names the wrong value."""
    request = parse(body)
    _refuse_unknown(request, "model", "instances")
    model = find(models, request.get("model"))
    return _predict(model, tensors.rows_from_nested(request.get("instances"), model.width, "instances"))


def invocations(model: Model, body: bytes) -> PredictionResponse:
    """Answer one of MLflow's JSON forms. Raises RequestError, which names the wrong value."""
    request = parse(body)
    given = [form for form in FORMS if form in request]
    if len(given) != 1:
        raise RequestError(f"the body must have exactly one of {', '.join(FORMS)}")
    _refuse_unknown(request, given[0], "params")
    return _predict(model, _FORMS[given[0]](model, request[given[0]], given[0]))


def invocations_csv(model: Model, body: bytes) -> PredictionResponse:
    """Answer rows in CSV under a header of feature names. Raises RequestError, which names line and column."""
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
            raise RequestError(f"line {number} has {len(line)} values, the header has {len(order)}")
        row = [_csv_number(line[at], f"line {number}, {lines[0][at]}") for at in order]
        rows.append(row)
    return _predict(model, tensors.rows_from_nested(rows, model.width, "rows"))


def _predict(model: Model, rows: Rows) -> PredictionResponse:
    content = {
        "predictions": model.predict(rows, probabilities=False)["predict"].tolist(),
        "model": model.card.name,
        "model_version": model.card.version,
    }
    return PredictionResponse(orjson.dumps(content), model, len(rows))


def _refuse_unknown(request: dict[str, Any], *known: str) -> None:
    for name in request:
        if name not in known:
            raise RequestError(f"{name[:100]}: unknown field; give {' and '.join(known)}")


def _order(model: Model, columns: Any, where: str) -> list[int]:
    """The position of each feature in `columns`. Raises RequestError for a missing, unknown or repeated feature."""
    if type(columns) is not list:
        raise RequestError(f"{where} must be an array of the features' names, not {kind(columns)}")
    names = [feature.name for feature in model.card.features]
    places: dict[str, int] = {}
    for at, column in enumerate(columns):
        if type(column) is not str or column not in names:
            raise RequestError(
                f"{where}: {quoted(column)} is not a feature of the model; its features are {', '.join(names)}"
            )
        if column in places:
            raise RequestError(f"{where}: {column!r} appears twice")
        places[column] = at
    for name in names:
        if name not in places:
            raise RequestError(f"{where}: {name!r} is missing")
    return [places[name] for name in names]


def _split(model: Model, value: Any, where: str) -> Rows:
    if type(value) is not dict:
        raise RequestError(f"{where} must be an object with columns and data, not {kind(value)}")
    rows = tensors.rows_from_nested(value.get("data"), model.width, f"{where}.data")
    if value.get("columns") is None:
        return rows
    return rows[:, _order(model, value["columns"], f"{where}.columns")]


def _records(model: Model, value: Any, where: str) -> Rows:
    if type(value) is not list:
        raise RequestError(f"{where} must be an array of objects, not {kind(value)}")
    rows = []
    for index, record in enumerate(value):
        if type(record) is not dict:
            raise RequestError(f"{where}[{index}] must be an object, not {kind(record)}")
        _order(model, list(record), f"{where}[{index}]")
        rows.append([record[feature.name] for feature in model.card.features])
    return tensors.rows_from_nested(rows, model.width, where)


def _instances(model: Model, value: Any, where: str) -> Rows:
    if type(value) is list and value and type(value[0]) is dict:
        return _records(model, value, where)
    return tensors.rows_from_nested(value, model.width, where)


def _inputs(model: Model, value: Any, where: str) -> Rows:
    """Make rows of rows, or of an object with an array of values for each feature."""
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
    """Parse a number as JSON, which refuses forms that Python's float would take: nan, inf, 1_000, blanks."""
    try:
        number = orjson.loads(text)
        # orjson makes a float of an integer beyond 64 bits.
        return int(text) if type(number) is float and text.strip().removeprefix("-").isdecimal() else number
    except orjson.JSONDecodeError:
        raise RequestError(f"{where} must be a number, not {quoted(text)}") from None

"""The handlers of the plain routes: `/predict`, and `/invocations` in MLflow's forms. Runs in a worker.

The source of MLflow's forms is https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from model_endpoint.models import rows as contract_rows
from model_endpoint.models.card import FURTHER, PREDICT
from model_endpoint.models.cells import kind
from model_endpoint.models.contract import Columns, Input
from model_endpoint.models.errors import RequestError, quoted
from model_endpoint.models.model import Model, Models, find
from model_endpoint.web import tensors
from model_endpoint.web.json_values import parse
from model_endpoint.web.responses import PredictionResponse

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def predict(models: Models, body: bytes) -> PredictionResponse:
    """Answer `{"model": name, "instances": [[…], …]}`, with the further `outputs` that the request names.

    Raises RequestError, which names the wrong value.
    """
    request = parse(body)
    _refuse_unknown(request, "model", "instances", "outputs")
    model = find(models, request.get("model"))
    if "outputs" in request:
        wanted = _wanted(model, request["outputs"], "outputs")
        return _answer(model, _rows(model, request.get("instances"), "instances"), "instances", wanted)
    numbers = _numbers(model, request.get("instances"), "instances")
    if numbers is None:
        return _answer(
            model, contract_rows.from_rows(model.card, request.get("instances"), "instances"), "instances"
        )
    predictions = model.predict(numbers, probabilities=False)[PREDICT]
    content = {
        "predictions": predictions.tolist(),
        "model": model.card.name,
        "model_version": model.card.version,
    }
    return PredictionResponse(orjson.dumps(content), model, len(numbers), values=(numbers, predictions))


def invocations(model: Model, body: bytes) -> PredictionResponse:
    """Answer one of MLflow's JSON forms; the only known one of its `params` is `outputs`.

    Raises RequestError, which names the wrong value.
    """
    request = parse(body)
    found = [form for form in FORMS if form in request]
    if len(found) != 1:
        raise RequestError(f"the body must have exactly one of {', '.join(FORMS)}")
    form = found[0]
    _refuse_unknown(request, form, "params")
    params = request.get("params")
    params = {} if params is None else params
    if type(params) is not dict:
        raise RequestError(f"params must be an object, not {kind(params)}")
    for name in params:
        if name != "outputs":
            raise RequestError(f"params.{name[:100]}: unknown parameter; the only one is outputs")
    wanted = _wanted(model, params["outputs"], "params.outputs") if params else []
    return _answer(model, _FORMS[form](model, request[form], form), form, wanted)


def invocations_csv(model: Model, body: bytes) -> PredictionResponse:
    """Answer rows in CSV under a header of column names. Raises RequestError, which names line and column."""
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"the body is not valid CSV: {error}") from None
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) < 2:
        raise RequestError("the body must be CSV with a header and at least one line")
    return _answer(model, contract_rows.from_texts(model.card, lines[0], lines[1:]), "rows")


def _answer(model: Model, given: Input, where: str, wanted: list[str] | None = None) -> PredictionResponse:
    unknown = 0
    warnings: list[str] = []
    if type(given) is Columns:
        unknown, warnings = contract_rows.warn(model.card, given, where)
        given = contract_rows.prepare(model.card, given)
    if wanted:
        more = [name for name in wanted if name in FURTHER]
        outputs = model.predict(given, len(more) < len(wanted), more)
    else:
        outputs = model.predict(given, probabilities=False)
    predictions = outputs[PREDICT]
    content: dict[str, Any] = {
        "predictions": predictions.tolist(),
        "model": model.card.name,
        "model_version": model.card.version,
    }
    if wanted:
        content["outputs"] = {name: outputs[name].tolist() for name in wanted}
    if warnings:
        content["warnings"] = warnings
    values = given, predictions
    return PredictionResponse(orjson.dumps(content), model, len(given), unknown=unknown, values=values)


def _wanted(model: Model, names: Any, where: str) -> list[str]:
    """The outputs that a request names. Raises RequestError."""
    if type(names) is not list:
        raise RequestError(f"{where} must be an array of output names, not {kind(names)}")
    for at, name in enumerate(names):
        if type(name) is not str or name not in model.outputs:
            known = ", ".join(model.outputs)
            raise RequestError(
                f"{where}[{at}]: {quoted(name)} is not an output of the model; its outputs are {known}"
            )
    return names


def _refuse_unknown(request: dict[str, Any], *known: str) -> None:
    for name in request:
        if name not in known:
            raise RequestError(f"{name[:100]}: unknown field; give {' and '.join(known)}")


def _rows(model: Model, rows: Any, where: str) -> Input:
    """Read rows by the model's contract; where every number is right, all of them at once."""
    if (numbers := _numbers(model, rows, where)) is not None:
        return numbers
    return contract_rows.from_rows(model.card, rows, where)


def _numbers(model: Model, rows: Any, where: str) -> NDArray[np.float64] | None:
    """The rows of a plain contract, or None: another contract's, and wrong ones, are for those who name columns."""
    if model.plain and type(rows) is list and rows and type(rows[0]) is list:
        try:
            return tensors.rows_from_nested(rows, model.width, where)
        except RequestError:
            return None
    return None


def _split(model: Model, value: Any, where: str) -> Input:
    if type(value) is not dict:
        raise RequestError(f"{where} must be an object with columns and data, not {kind(value)}")
    _refuse_unknown(value, "columns", "data", "index")
    rows, columns = value.get("data"), value.get("columns")
    if columns is None:
        return _rows(model, rows, f"{where}.data")
    order = contract_rows.order(model.card, columns, f"{where}.columns")
    if (numbers := _numbers(model, rows, f"{where}.data")) is not None:
        return numbers[:, order]
    if type(rows) is list and all(type(row) is list and len(row) == len(order) for row in rows):
        rows = [[row[at] for at in order] for row in rows]
    return contract_rows.from_rows(model.card, rows, f"{where}.data")


def _records(model: Model, value: Any, where: str) -> Input:
    if type(value) is list and value and type(value[0]) is not dict:
        raise RequestError(f"{where}[0] must be an object, not {kind(value[0])}")
    return contract_rows.from_rows(model.card, value, where)


def _inputs(model: Model, value: Any, where: str) -> Input:
    """Read rows, or an object with an array of values for each column."""
    if type(value) is dict:
        return contract_rows.from_lists(model.card, value, where)
    return _rows(model, value, where)


_FORMS = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _rows,
    "inputs": _inputs,
}

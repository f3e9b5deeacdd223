"""The models that the servers serve, and the requests of each server's own form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHIPPED = ("iris", "breast_cancer")
FRAMES = ("mixed", "mixed boosting")
TEXTS = ("text",)
ALL = (*SHIPPED, *FRAMES, *TEXTS, "xgboost")
NUMERIC = [f"amount_{number}" for number in range(9)]
CATEGORIES = {"region": 5, "channel": 4, "product": 12, "device": 3, "plan": 6}
SHIPPED_FOLDER = Path(__file__).resolve().parents[1] / "model_endpoint" / "models"
DATATYPES = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}


def place(model: str) -> str:
    """Return the name of a model's folder, which is its name in a request."""
    return model.replace(" ", "_")


def rows_of(folder: Path, model: str, count: int) -> list[Any]:
    """Return `count` rows for a model, out of its golden requests that have no gap."""
    golden = json.loads((folder / place(model) / "golden.json").read_text())
    rows = [row for request in golden for row in request["rows"] if None not in row]
    taken = [rows[index % len(rows)] for index in range(count)]
    if model in TEXTS:
        return [text for (text,) in taken]
    if model in FRAMES:
        return [dict(zip([*NUMERIC, *CATEGORIES], row, strict=True)) for row in taken]
    return taken


def expected(folder: Path, model: str) -> str:
    """Return what the answer for the first row has in it, blanks aside."""
    golden = json.loads((folder / place(model) / "golden.json").read_text())
    (request,) = [request for request in golden if None not in request["rows"][0]][:1]
    return json.dumps([request["outputs"]["predict"][0]], separators=(",", ":")).replace(" ", "")


def body(form: str, model: str, rows: Sequence[Any]) -> bytes:
    """Return a request for a model in the form of a kind of servers: `instances`, `mlflow` or `v2`."""
    content: dict[str, Any] = {"model": place(model), "instances": rows}
    if form == "mlflow" and model in FRAMES:
        columns = list(rows[0])
        content = {
            "dataframe_split": {"columns": columns, "data": [[row[name] for name in columns] for row in rows]}
        }
    elif form == "mlflow":
        content = {"inputs" if model in TEXTS else "instances": rows}
    elif form == "v2":
        content = _tensors(model, rows)
    return json.dumps(content).encode()


def _tensors(model: str, rows: Sequence[Any]) -> dict[str, Any]:
    """Return rows as MLServer's clients send them: a frame, texts, or one array."""
    if model in FRAMES:
        inputs = [_column(name, [row[name] for row in rows]) for name in rows[0]]
        return {"inputs": inputs, "parameters": {"content_type": "pd"}}
    if model in TEXTS:
        return {"inputs": [_column("input", list(rows))], "parameters": {"content_type": "str"}}
    flat = [value for row in rows for value in row]
    return {
        "inputs": [{"name": "input", "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": flat}]
    }


def _column(name: str, values: list[Any]) -> dict[str, Any]:
    tensor = {"name": name, "shape": [len(values)], "datatype": DATATYPES[type(values[0])], "data": values}
    return tensor | ({"parameters": {"content_type": "str"}} if tensor["datatype"] == "BYTES" else {})

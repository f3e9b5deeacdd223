"""MLflow's forms and CSV, good and bad."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
ROW = [6.3, 2.9, 5.6, 1.8]
RECORD = dict(zip(NAMES, ROW, strict=True))
PATH = "/invocations?model=iris"


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": NAMES, "data": [ROW]}},
        {"dataframe_split": {"columns": NAMES[::-1], "data": [ROW[::-1]], "index": [0]}},
        {"dataframe_split": {"data": [ROW]}},
        {"dataframe_records": [RECORD]},
        {"dataframe_records": [dict(reversed(RECORD.items()))], "params": {}},
        {"instances": [ROW]},
        {"instances": [RECORD]},
        {"inputs": [ROW]},
        {"inputs": {name: [value] for name, value in RECORD.items()}},
    ],
)
def test_every_form_gives_the_same_answer(client: FlaskClient, body: dict[str, Any]) -> None:
    answer = client.post(PATH, json=body)
    assert answer.get_json() == {"predictions": ["virginica"], "model": "iris", "model_version": "1"}


@pytest.mark.parametrize(
    "text",
    [f"{','.join(NAMES)}\n6.3,2.9,5.6,1.8\n", '"petal_width",' + ",".join(NAMES[:3]) + "\r\n1.8,6.3,2.9,5.6"],
)
def test_csv_by_the_header(client: FlaskClient, text: str) -> None:
    answer = client.post(PATH, data=text, content_type="text/csv; charset=utf-8")
    assert answer.get_json()["predictions"] == ["virginica"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "exactly one of dataframe_split"),
        ({"instances": [ROW], "inputs": [ROW]}, "exactly one of dataframe_split"),
        ({"instances": [ROW], "rows": 1}, "rows: unknown field"),
        ({"dataframe_split": [ROW]}, "dataframe_split: it must be an object"),
        ({"dataframe_split": {"columns": NAMES[:3], "data": [ROW]}}, "columns: 'petal_width' is missing"),
        ({"dataframe_split": {"columns": [*NAMES[:3], "x"], "data": [ROW]}}, "columns: 'x' is no feature"),
        (
            {"dataframe_split": {"columns": [*NAMES[:3], NAMES[0]], "data": [ROW]}},
            "'sepal_length' is there twice",
        ),
        ({"dataframe_split": {"columns": "abcd", "data": [ROW]}}, "columns: it must be an array"),
        ({"dataframe_split": {"columns": NAMES, "data": [[1]]}}, "dataframe_split.data[0]: it has 1 values"),
        ({"dataframe_records": []}, "dataframe_records: it is empty"),
        ({"dataframe_records": [ROW]}, "dataframe_records[0]: it must be an object"),
        ({"dataframe_records": [{"x": 1}]}, "dataframe_records[0]: 'x' is no feature"),
        (
            {"dataframe_records": [RECORD | {"petal_width": "1"}]},
            "dataframe_records[0][3]: it must be a number",
        ),
        ({"instances": [RECORD, ROW]}, "instances[1]: it must be an object"),
        ({"inputs": dict.fromkeys(NAMES, 1)}, "inputs.sepal_length: the features need arrays"),
        ({"inputs": RECORD | {"sepal_length": [1]}}, "inputs.sepal_width: the features need arrays"),
        ({"inputs": {}}, "inputs: 'sepal_length' is missing"),
    ],
)
def test_a_bad_form_is_refused_with_the_place(
    client: FlaskClient, body: dict[str, Any], message: str
) -> None:
    answer = client.post(PATH, json=body)
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]


HEADER = ",".join(NAMES).encode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "a header and at least one line"),
        (HEADER, "a header and at least one line"),
        (HEADER + b"\n1,2,3\n", "line 2: it has 3 values"),
        (HEADER + b"\n1,2,3,nan\n", "line 2, petal_width: it must be a number, not 'nan'"),
        (HEADER + b"\n1,2,3,1_000\n", "line 2, petal_width"),
        (HEADER + b"\n1,2,3,1e400\n", "line 2, petal_width"),
        (HEADER + b"\n1,2,3,true\n", "must be a number, not a boolean"),
        (HEADER + b"\n1,2,3,[4]\n", "must be a number, not an array"),
        (HEADER + b'\n1,2,3,"4\n', "not valid CSV"),
        (b"\xff\n1\n", "not valid CSV"),
        (b"a,b,c,d\n1,2,3,4\n", "line 1: 'a' is no feature"),
    ],
)
def test_bad_csv_is_refused_with_the_place(client: FlaskClient, text: bytes, message: str) -> None:
    answer = client.post(PATH, data=text, content_type="text/csv")
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]


def test_the_model_must_be_named_where_there_are_several(client: FlaskClient) -> None:
    assert client.post("/invocations", json={"instances": [ROW]}).status_code == 400
    assert client.post("/invocations?model=rose", json={"instances": [ROW]}).status_code == 404


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/predict", "text/csv"),
        ("/predict", "application/xml"),
        (PATH, "text/plain"),
        (PATH, "multipart/form-data"),
    ],
)
def test_a_wrong_content_type_is_refused(client: FlaskClient, path: str, content_type: str) -> None:
    answer = client.post(path, data=b"{}", content_type=content_type)
    assert answer.status_code == 415
    assert content_type in answer.get_json()["error"]


def test_a_compressed_body_is_refused(client: FlaskClient) -> None:
    assert client.post("/predict", data=b"{}", headers={"Content-Encoding": "gzip"}).status_code == 415

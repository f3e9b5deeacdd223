"""The plain routes: /predict, MLflow's forms and CSV."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from unit.model_endpoint.inference import tensor

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of extreme values, which are refused


SETOSA = [5.1, 3.5, 1.4, 0.2]


def test_predict_answers_with_the_labels_and_who_gave_them(client: FlaskClient) -> None:
    answer = client.post("/predict", json={"model": "iris", "instances": [SETOSA, [6.3, 2.9, 5.6, 1.8]]})
    assert answer.status_code == 200
    assert answer.get_json() == {
        "predictions": ["setosa", "virginica"],
        "model": "iris",
        "model_version": "1",
    }


BAD_BODIES = [
    (b"", "not valid JSON"),
    (b"{", "not valid JSON"),
    (b"[]", "must be a JSON object, not an array"),
    (b'{"model": "iris", "instances": [[1, 2, 3, "\xff"]]}', "not valid JSON"),
    (b'{"model": "iris", "instances": [[1, 2, 3, NaN]]}', "not valid JSON"),
    (b'{"model": "iris", "instances": [[1, 2, 3, -Infinity]]}', "not valid JSON"),
    (b'{"model": "iris", "instances": [[1, 2, 3, 1e400]]}', "not valid JSON"),
    (b'{"model": "iris", "instances": ' + b"[" * 5000 + b"]" * 5000 + b"}", "not valid JSON"),
    (b'{"model": "iris"}', "instances must be an array of rows, not null"),
    (b'{"model": "iris", "instances": []}', "instances is empty"),
    (b'{"model": "iris", "instances": [[]]}', "instances[0] has 0 values, the model takes 4"),
    (b'{"model": "iris", "instances": [[1, 2, 3, 4], [1, 2, 3]]}', "instances[1] has 3 values"),
    (b'{"model": "iris", "instances": [1, 2, 3, 4]}', "instances[0]: a row must be an array of 4 numbers"),
    (
        b'{"model": "iris", "instances": [[1, 2, 3, "4"]]}',
        "instances[0].petal_width must be a number, not a string ('4')",
    ),
    (
        b'{"model": "iris", "instances": [[1, 2, 3, null]]}',
        "instances[0].petal_width must be a number, not null; training had no missing values there",
    ),
    (
        b'{"model": "iris", "instances": [[1, 2, 3, true]]}',
        "instances[0].petal_width must be a number, not true",
    ),
    (
        b'{"model": "iris", "instances": [[1, 2, 3, [4]]]}',
        "instances[0].petal_width must be a number, not an array",
    ),
    (
        b'{"model": "iris", "instances": [[1, 2, 3, 9007199254740993]]}',
        "instances[0].petal_width: 9007199254740993 is beyond",
    ),
    *(
        (
            b'{"model": "iris", "instances": [[1, 2.5, 3, 4],%b[1, 2, 0.00123456789012345678,%b%d]]}'
            % (space, space, number),
            f"instances[1].petal_width: {str(number)[:97]}{'...' if number > 10**99 else ''} is beyond 2^53",
        )
        # The last ones that orjson keeps as integers, and the first that it makes floats of.
        for number in (2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**20, 10**300)
        for space in (b"", b" ", b"\n", b"\t")
    ),
    (
        b'{"model": "iris", "instances": [[1e308, 1e308, -1e308, 1e308]]}',
        "row 0 gives a result that is not finite",
    ),
    (b'{"model": 7, "instances": [[1, 2, 3, 4]]}', "model must be the name of one of"),
    (b'{"model": "iris", "rows": [[1, 2, 3, 4]]}', "rows: unknown field"),
    (
        b'{"model": "breast_cancer", "instances": [[' + b"1e300," * 29 + b"1]]}",
        "too large for float32",
    ),
]


@pytest.mark.parametrize(("body", "message"), BAD_BODIES)
def test_a_bad_predict_body_is_refused_with_the_place(client: FlaskClient, body: bytes, message: str) -> None:
    answer = client.post("/predict", data=body)
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]


def test_a_float_of_any_length_and_text_of_digits_are_taken(client: FlaskClient) -> None:
    row = "[5.1, 3.5, 1.4000000000000000000001, 0.20000000000000000000000001e0]"
    body = f'{{"model": "iris", "instances": [{row}, [12345678901234567890.5, 1e20, 1E+20, -1e-20]]}}'
    answer = client.post("/predict", data=body)
    assert (answer.status_code, answer.get_json()["predictions"][0]) == (200, "setosa")
    request = {"id": "12345678901234567890123", "inputs": [tensor()]}
    assert client.post("/v2/models/iris/infer", json=request).get_json()["id"] == request["id"]


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
def test_csv_columns_are_found_by_the_header_in_any_order(client: FlaskClient, text: str) -> None:
    answer = client.post(PATH, data=text, content_type="text/csv; charset=utf-8")
    assert answer.get_json()["predictions"] == ["virginica"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "exactly one of dataframe_split"),
        ({"instances": [ROW], "inputs": [ROW]}, "exactly one of dataframe_split"),
        ({"instances": [ROW], "rows": 1}, "rows: unknown field"),
        ({"dataframe_split": [ROW]}, "dataframe_split must be an object"),
        ({"dataframe_split": {"columns": NAMES[:3], "data": [ROW]}}, "columns: 'petal_width' is missing"),
        ({"dataframe_split": {"columns": [*NAMES[:3], "x"], "data": [ROW]}}, "columns: 'x' is not a feature"),
        (
            {"dataframe_split": {"columns": [*NAMES[:3], NAMES[0]], "data": [ROW]}},
            "'sepal_length' appears twice",
        ),
        ({"dataframe_split": {"columns": "abcd", "data": [ROW]}}, "columns must be an array"),
        ({"dataframe_split": {"columns": NAMES, "data": [[1]]}}, "dataframe_split.data[0] has 1 values"),
        ({"dataframe_records": []}, "dataframe_records is empty"),
        ({"dataframe_records": [ROW]}, "dataframe_records[0] must be an object"),
        ({"dataframe_records": [{"x": 1}]}, "dataframe_records[0]: 'x' is not a feature"),
        (
            {"dataframe_records": [RECORD | {"petal_width": "1"}]},
            "dataframe_records[0].petal_width must be a number, not a string ('1')",
        ),
        ({"instances": [RECORD, ROW]}, "instances[1] must be an object"),
        ({"inputs": dict.fromkeys(NAMES, 1)}, "inputs.sepal_length: the columns need arrays"),
        ({"inputs": RECORD | {"sepal_length": [1]}}, "inputs.sepal_width: the columns need arrays"),
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
        (HEADER + b"\n1,2,3\n", "line 2 has 3 values"),
        (HEADER + b"\n1,2,3,nan\n", "line 2, petal_width must be a number, not 'nan'"),
        (HEADER + b"\n1,2,3,1_000\n", "line 2, petal_width"),
        (HEADER + b"\n1,2,3,1e400\n", "line 2, petal_width"),
        (
            HEADER + b"\n1,2,3,4\n1,2,3, 18446744073709551616\n",
            "line 3, petal_width: 18446744073709551616 is beyond 2^53",
        ),
        (HEADER + b"\n1,2,3,true\n", "line 2, petal_width must be a number, not true"),
        (HEADER + b"\n1,2,3,[4]\n", "must be a number, not an array"),
        (HEADER + b'\n1,2,3,"4\n', "not valid CSV"),
        (b"\xff\n1\n", "not valid CSV"),
        (b"a,b,c,d\n1,2,3,4\n", "line 1: 'a' is not a feature"),
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
    ("given", "kind"), [(0, "a number"), ("", "a string"), ([], "an array"), (False, "a boolean")]
)
def test_params_that_are_no_object_are_refused(client: FlaskClient, given: Any, kind: str) -> None:
    body = {"instances": [SETOSA], "params": given}
    answer = client.post("/invocations?model=iris", json=body)
    assert (answer.status_code, answer.get_json()["error"]) == (400, f"params must be an object, not {kind}")
    assert client.post("/invocations?model=iris", json={**body, "params": None}).status_code == 200


def test_the_requests_that_a_newcomer_is_shown_are_answered(client: FlaskClient) -> None:
    project = Path(__file__).parents[3]
    readme, greeting = ((project / name).read_text() for name in ("README.md", "tools/greet.sh"))
    shown = [
        [json.loads(body) for body in re.findall(r"-d '(.+?)'$", text, re.S | re.M)]
        for text in (readme, greeting)
    ]
    assert shown[0] == shown[1]
    answers = [client.post("/predict", json=body).get_json() for body in shown[0]]
    assert [answer["predictions"] for answer in answers] == [["Gentoo"], ["setosa"]]
    told = re.search(r"The first answer is `(.+?)`", readme)
    assert told
    assert json.loads(told[1]) == answers[0]

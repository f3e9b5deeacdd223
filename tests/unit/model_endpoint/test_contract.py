"""Contracts of every kind: packed, proved, and what each route takes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flask.testing import FlaskClient
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, scale

from model_endpoint.drift.counts import ModelCounts, ValueCounts
from model_endpoint.models.errors import BundleError
from model_endpoint.models.golden import check_golden
from model_endpoint.models.model import Model, Models
from model_endpoint.packing import bundle, rehearsal
from model_endpoint.runtime import golden_check
from model_endpoint.runtime.metrics import Metrics
from model_endpoint.runtime.request_log import RequestLog
from model_endpoint.runtime.settings import Settings
from model_endpoint.web.app import create_app
from model_endpoint.web.service import Service
from unit.model_endpoint.contracts import KINDS, ROWS, built, mixed, numbers, passengers

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: tmp_path_factory.mktemp(name) for name in KINDS}


@pytest.fixture(scope="module")
def made(folders: dict[str, Path]) -> Models:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rehearsal, "ALONE_ROWS", 6)
        return {name: built(name, folder, sample=12) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def counts(made: Models, folders: dict[str, Path]) -> ValueCounts:
    found: dict[str, ModelCounts] = {}
    for name, folder in folders.items():
        found |= ValueCounts.of({name: made[name]}, folder / "out", 1).models
    return ValueCounts(found)


@pytest.fixture(scope="module")
def ask(made: Models, counts: ValueCounts) -> FlaskClient:
    settings = Settings(endpoint="node-a", release="r1", log_sample=0)
    metrics = Metrics(made, settings.max_workers)
    return create_app(Service(settings, made, metrics, RequestLog(settings), counts)).test_client()


def types(model: Model) -> dict[str, str]:
    return {feature.name: feature.type for feature in model.card.features}


@pytest.mark.parametrize(
    ("name", "form", "wanted"),
    [
        ("mixed", "frame", {"age": "number", "port": "string", "class": "integer"}),
        ("category", "frame", {"c0": "number", "code": "category"}),
        ("texts", "texts", {"": "string"}),
        ("dicts", "dicts", {"age": "number", "port": "string", "class": "integer"}),
        ("single_precision", "array", {"c0": "number", "c1": "number"}),
        ("booleans", "array", {"c0": "number", "member": "boolean"}),
        ("nullable", "frame", {"rooms": "integer", "garden": "boolean", "size": "number"}),
        ("dates", "frame", {"c0": "number", "day": "datetime", "unread": "datetime"}),
        ("objects", "array", {"x0": "string", "x1": "integer"}),
    ],
)
def test_the_contract_has_the_data_s_types(
    made: Models, name: str, form: str, wanted: dict[str, str]
) -> None:
    assert (made[name].card.form, types(made[name])) == (form, wanted)


def test_the_contract_says_what_may_be_missing_and_what_becomes_of_an_unknown_value(made: Models) -> None:
    said = {
        (name, feature.name): (feature.missing, feature.unknown)
        for name in ("mixed", "strict_text", "category", "text_category", "large_integers")
        for feature in made[name].card.features
        if feature.categories
    }
    assert said == {
        ("mixed", "port"): (True, "encoded as other"),
        ("mixed", "class"): (False, "encoded as other"),
        ("strict_text", "port"): (False, "refused"),
        ("strict_text", "class"): (False, "refused"),
        ("category", "code"): (False, "taken as missing"),
        ("text_category", "color"): (True, "taken as missing"),
        ("large_integers", "account"): (False, "encoded as other"),
    }
    assert [feature.name for feature in made["unread"].card.features if not feature.read] == ["c0", "name"]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_gate_asks_each_kind_its_golden_requests(ask: FlaskClient, made: Models, name: str) -> None:
    model = made[name]
    for request in model.golden:
        path, body = golden_check._question(model.card, request)
        answer = ask.post(path, data=body)
        check_golden(
            golden_check._outputs(answer.data), request["outputs"], name, model.card.single_precision
        )


def predict(ask: FlaskClient, name: str, *rows: Any, **more: Any) -> Any:
    return ask.post("/predict", json={"model": name, "instances": list(rows), **more})


MIXED = {"age": 30.5, "port": "Q", "class": 2}


def test_every_form_of_a_mixed_row_gives_the_same_answer(ask: FlaskClient) -> None:
    right = predict(ask, "mixed", MIXED, outputs=["predict_proba"]).get_json()
    assert right["predictions"] in (["yes"], ["no"])
    assert sum(right["outputs"]["predict_proba"][0]) == pytest.approx(1)
    at = "/invocations?model=mixed"
    columns, row = list(MIXED), list(MIXED.values())
    turned = {"columns": columns[::-1], "data": [row[::-1]]}
    text = b"\xef\xbb\xbfclass,age,port\r\n2,30.5,Q\r\n\r\n"
    answers = [
        predict(ask, "mixed", row),
        ask.post(at, json={"dataframe_split": turned}),
        ask.post(at, json={"dataframe_records": [MIXED]}),
        ask.post(at, json={"inputs": {name: [value] for name, value in MIXED.items()}}),
        ask.post(at, data=text, content_type="text/csv"),
    ]
    assert [answer.get_json()["predictions"] for answer in answers] == [right["predictions"]] * len(answers)


def tensors(**parameters: Any) -> list[dict[str, Any]]:
    return [
        {"name": "port", "datatype": "BYTES", "shape": [2, 1], "data": ["Q", None], "parameters": parameters},
        {"name": "age", "datatype": "FP32", "shape": [2], "data": [30.5, None]},
        {"name": "class", "datatype": "INT8", "shape": [2], "data": [2, 3]},
    ]


@pytest.mark.parametrize("parameters", [{}, {"content_type": "str"}])
def test_a_tensor_a_column_in_any_order(ask: FlaskClient, parameters: dict[str, str]) -> None:
    body = {"parameters": {"content_type": "pd"}, "inputs": tensors(**parameters)}
    answer = ask.post("/v2/models/mixed/infer", json=body).get_json()
    expected = predict(ask, "mixed", [30.5, "Q", 2], [None, None, 3]).get_json()["predictions"]
    assert answer["outputs"][0]["data"] == expected


def test_binary_tensors_have_nan_for_a_missing_number(ask: FlaskClient) -> None:
    ages, texts = np.array([30.5, np.nan]).tobytes(), b"\1\0\0\0Q\1\0\0\0C"
    inputs: list[dict[str, Any]] = [
        {"name": "age", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": len(ages)}},
        {"name": "port", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(texts)}},
        {"name": "class", "datatype": "INT64", "shape": [2], "data": [2, 3]},
    ]
    header = json.dumps({"inputs": inputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    answer = ask.post("/v2/models/mixed/infer", data=header + ages + texts, headers=headers).get_json()
    expected = predict(ask, "mixed", [30.5, "Q", 2], [None, "C", 3]).get_json()["predictions"]
    assert answer["outputs"][0]["data"] == expected


def test_an_unknown_category_is_told_and_counted(ask: FlaskClient) -> None:
    def counted() -> list[str]:
        lines = ask.get("/metrics").text.splitlines()
        return [line for line in lines if line.startswith('flotilla_unknown_values_total{model="mixed"')]

    assert "warnings" not in predict(ask, "mixed", MIXED).get_json()
    before = float(counted()[0].split()[-1])
    answer = predict(ask, "mixed", MIXED, MIXED | {"port": "Hamburg"}).get_json()
    assert answer["warnings"] == ["instances[1].port: training had no 'Hamburg', which is encoded as other"]
    assert float(counted()[0].split()[-1]) == before + 1
    inputs = tensors()
    inputs[0]["data"] = ["Q", "Ulm"]
    answer = ask.post("/v2/models/mixed/infer", json={"inputs": inputs}).get_json()
    assert "'Ulm'" in answer["parameters"]["warnings"][0]


def test_values_of_every_kind_are_counted_and_each_line_of_the_metrics_has_labels_of_its_own(
    ask: FlaskClient, made: Models, counts: ValueCounts
) -> None:
    def counted() -> dict[str, float]:
        counts.models["mixed"].flush()
        lines = [line for line in ask.get("/metrics").text.splitlines() if not line.startswith("#")]
        series = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}
        assert len(series) == len(lines)
        return series

    before = counted()
    assert predict(ask, "mixed", MIXED | {"age": None, "port": "Hamburg"}).status_code == 200
    after = counted()
    for column, text in (("age", "(missing)"), ("port", "(unknown)"), ("class", "2")):
        labels = f'model="mixed",version="1",release="r1",column="{column}",bin="{text}"'
        name = f"flotilla_column_values_total{{{labels}}}"
        assert after[name] == before[name] + 1, name
    assert ask.get("/metrics/drift").get_json().keys() == made.keys()


def test_a_model_of_one_column_takes_plain_values(ask: FlaskClient) -> None:
    lines = ["cash offer now", "lunch grüße", ""]
    answer = predict(ask, "texts", *lines).get_json()
    assert answer["predictions"][:2] == ["spam", "ham"]
    tensor = {"name": "input", "datatype": "BYTES", "shape": [3], "data": lines}
    other = ask.post("/v2/models/texts/infer", json={"inputs": [tensor]}).get_json()
    assert other["outputs"][0]["data"] == answer["predictions"]


@pytest.mark.parametrize("day", ["2024-01-01T12:00:00", "2024-01-01T12:00:00Z", "2024-01-01 12:00:00.000"])
def test_a_date_is_one_whichever_way_rfc_3339_writes_it(ask: FlaskClient, day: str) -> None:
    right = predict(ask, "dates", [0.5, "2024-01-01T12:00:00", None]).get_json()
    assert predict(ask, "dates", [0.5, day, "2024-01-01T12:00:00+01:00"]).get_json() == right


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("mixed", {**MIXED, "age": "30"}, "instances[0].age must be a number or null, not a string ('30')"),
        ("mixed", {**MIXED, "class": None}, "instances[0].class must be a whole number, not null"),
        ("mixed", {**MIXED, "class": 2.5}, "instances[0].class must be a whole number, not 2.5"),
        ("mixed", {**MIXED, "class": True}, "instances[0].class must be a whole number, not true"),
        ("mixed", {**MIXED, "port": 7}, "instances[0].port must be a string or null, not 7"),
        ("mixed", {"age": 1, "port": "C"}, "instances[0]: 'class' is missing"),
        (
            "mixed",
            {**MIXED, "x": 1},
            "instances[0]: 'x' is not a feature of the model; its features are age, port",
        ),
        ("mixed", [30.5, "Q"], "instances[0] has 2 values, the model takes 3: age, port, class"),
        ("strict_text", ["Ulm", 1], "instances[0].port must be one of 'C', 'Q', 'S', not a string ('Ulm')"),
        ("strict_text", ["C", 9], "instances[0].class must be one of 1, 2, 3, not 9"),
        (
            "category",
            [0.5, "10"],
            "instances[0].code must be a number, such as 10, 20, 30, not a string ('10')",
        ),
        ("booleans", [0.5, 1], "instances[0].member must be true or false, not 1"),
        ("dates", [0.5, "1.2.2024", None], "instances[0].day must be a date as RFC 3339 has it"),
        ("dates", [0.5, "2024-02-30", None], "instances[0].day: '2024-02-30' is no date"),
        ("dates", [0.5, "2024-01-01T12:00:00+01:00", None], "has an offset, and training's dates have none"),
        ("dates", [0.5, "2024-01-01", "2024-01-01"], "instances[0].unread must be a date"),
        ("single_precision", [1e39, 0], "instances[0].c0: 1e+39 is out of float32's range"),
        ("large_integers", [0.5, 2**63], "instances[0].account"),
        ("dates", [0.5, "2024-01-01", "2024-01-01T00:00:00+99:99"], "instances[0].unread: '2024-01-01T00"),
        ("fine_dates", "3000-01-01T00:00:00.5", "'3000-01-01T00:00:00.5' is no date that datetime64[ns] can"),
        ("texts", 7, "instances[0] must be a string, not 7"),
        ("texts", {"text": "a"}, "instances[0]: the model's one column has no name; send its values"),
        ("texts", None, "instances[0] must be a string, not null"),
        ("dicts", {"age": 3, "color": "red"}, "instances[0]: 'color' is not a feature"),
    ],
)
def test_an_error_names_row_column_value_and_what_is_allowed(
    ask: FlaskClient, name: str, row: Any, message: str
) -> None:
    answer = predict(ask, name, row)
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,port,class\n,,2\n", None),
        ("age,port,class\n1,Q,\n", "line 2, class is empty and must be a whole number"),
        ("age,port,class\nNaN,Q,2\n", "line 2, age must be a number or null, not 'NaN'"),
        ("age,port,class\nnull,Q,2\n", "line 2, age must be a number or null, not 'null'"),
        ("age,port,class\n1,Q,2,\n", "line 2 has 4 values, the header has 3"),
        ("age,port\n1,Q\n", "line 1: 'class' is missing"),
        ("age,port,class\n1,Q,2\n\n2,C,1\n", "line 3 has 0 values"),
    ],
)
def test_an_empty_cell_of_csv_is_a_missing_value_where_there_may_be_one(
    ask: FlaskClient, text: str, message: str | None
) -> None:
    answer = ask.post("/invocations?model=mixed", data=text, content_type="text/csv")
    assert (message or "predictions") in answer.text
    assert answer.status_code == (400 if message else 200)


def test_digits_stay_text_where_text_is_declared(ask: FlaskClient) -> None:
    def csv(text: str) -> Any:
        return ask.post("/invocations?model=postcode", data=text, content_type="text/csv").get_json()

    (dresden,), (munich,) = csv("postcode\n01067")["predictions"], csv('postcode\n"80331"\n')["predictions"]
    assert (dresden, munich) == (pytest.approx(0, abs=0.1), pytest.approx(1, abs=0.1))
    assert predict(ask, "postcode", "01067").get_json()["predictions"] == [dresden]
    assert "1067" in csv("postcode\n1067")["warnings"][0]
    assert "must be a string, not 1067" in predict(ask, "postcode", 1067).text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda inputs: inputs.pop(), "a tensor named 'class' is missing"),
        (lambda inputs: inputs[0].update(name="x"), "inputs[0].name: 'x' is not a column of the model"),
        (lambda inputs: inputs[0].update(name=[]), "inputs[0].name: [] is not a column of the model"),
        (
            lambda inputs: inputs[0].update(parameters={"content_type": {}}),
            "content_type: {} is not taken",
        ),
        (
            lambda inputs: inputs[1].update(datatype="FP32", data=[1, 1e300]),
            "inputs[1] (age).data[1]: 1e+300 is out of FP32's range",
        ),
        (
            lambda inputs: inputs[2].update(datatype="FP16", data=[1, 1e300]),
            "inputs[2] (class).data[1]: 1e+300 is out of FP16's range",
        ),
        (lambda inputs: inputs[0].update(shape=[3]), "inputs[0] (port).data has 2 values, its shape needs 3"),
        (lambda inputs: inputs[1].update(shape=[2, 2]), "inputs[1] (age).shape must be [rows] or [rows, 1]"),
        (
            lambda inputs: inputs[0].update(datatype="INT8"),
            "inputs[0] (port).data[0] is a string ('Q'), which is no INT8",
        ),
        (
            lambda inputs: inputs[0].update(parameters={"content_type": "base64"}),
            "content_type: 'base64' is not taken",
        ),
        (lambda inputs: inputs[2].update(data=[2, 300]), "300 is out of INT8's range"),
        (
            lambda inputs: inputs[2].update(data=[2, None]),
            "inputs[2] (class).data[1] must be a whole number, not null",
        ),
    ],
)
def test_a_bad_tensor_of_a_column_is_refused(
    ask: FlaskClient, change: Callable[[list[dict[str, Any]]], Any], message: str
) -> None:
    inputs = tensors()
    change(inputs)
    answer = ask.post("/v2/models/mixed/infer", json={"inputs": inputs})
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]


def one_tensor(ask: FlaskClient, name: str, datatype: str, rows: Any, binary: bytes = b"") -> Any:
    tensor: dict[str, Any] = {"name": "input", "datatype": datatype, "shape": [1, 2]}
    tensor |= {"parameters": {"binary_data_size": len(binary)}} if rows is None else {"data": rows}
    text = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    return ask.post(f"/v2/models/{name}/infer", data=text + binary, headers=headers)


def test_the_one_tensor_of_numbers_takes_booleans_as_its_datatype_has_them(ask: FlaskClient) -> None:
    right = predict(ask, "booleans", [0.5, True]).get_json()["predictions"]
    binary = np.array([[0.5, 1]]).tobytes()
    for rows, blob in (([[0.5, True]], b""), ([[0.5, 1]], b""), ([0.5, 1.0], b""), (None, binary)):
        answer = one_tensor(ask, "booleans", "FP64", rows, blob).get_json()
        assert answer["outputs"][0]["data"] == right
    assert "member must be true or false, not 2" in one_tensor(ask, "booleans", "FP64", [0.5, 2]).text


@pytest.mark.parametrize(
    ("datatype", "rows", "binary", "message"),
    [
        ("INT8", [[1.5, 1]], b"", "inputs[0].data[0].c0 is 1.5, which is no INT8"),
        ("INT8", [[1, 1000]], b"", "inputs[0].data[0].c1: 1000 is out of INT8's range"),
        ("FP64", [[1, 1]], b"more", "the body has 4 bytes after its JSON"),
        ("FP64", [1, 1, 1], b"", "inputs[0].data has 3 values, the shape [1, 2] needs 2"),
        ("FP64", [[1, 1], [1, 1]], b"", "inputs[0].data has 2 rows, the shape [1, 2] needs 1"),
        ("FP64", None, b"short", "inputs[0] has 5 bytes, the shape [1, 2] of FP64 needs 16"),
    ],
)
def test_the_one_tensor_of_narrow_numbers_is_what_its_datatype_and_shape_say(
    ask: FlaskClient, datatype: str, rows: Any, binary: bytes, message: str
) -> None:
    answer = one_tensor(ask, "single_precision", datatype, rows, binary)
    assert (answer.status_code, message in answer.text) == (400, True)


@pytest.mark.parametrize("names", [["input", "size"], ["input"]])
def test_a_column_may_be_named_input(names: list[str], tmp_path: Path) -> None:
    frame = numbers(len(names)).set_axis(names, axis=1)
    built("named", tmp_path, (Ridge().fit(frame, frame["input"]), frame), sample=5)


def test_metadata_has_one_tensor_for_numbers_and_one_a_column_for_others(ask: FlaskClient) -> None:
    inputs = ask.get("/v2/models/booleans").get_json()["inputs"]
    assert inputs == [{"name": "input", "datatype": "FP64", "shape": [-1, 2]}]
    described = ask.get("/v2/models/mixed").get_json()["inputs"]
    assert [(one["name"], one["datatype"]) for one in described] == [
        ("age", "FP64"),
        ("port", "BYTES"),
        ("class", "INT64"),
    ]


def test_further_outputs_come_only_when_asked_for(ask: FlaskClient, client: FlaskClient) -> None:
    answer = predict(ask, "mixed", MIXED, outputs=["decision_function", "predict_proba"]).get_json()
    (score,), (proba,) = answer["outputs"]["decision_function"], answer["outputs"]["predict_proba"]
    assert proba[1] == pytest.approx(1 / (1 + np.exp(-score)))
    wrong = predict(ask, "mixed", MIXED, outputs=["scores"])
    assert "outputs[0]: 'scores' is not an output of the model; its outputs are predict, " in wrong.text
    compiled = client.post(
        "/predict", json={"model": "iris", "instances": [[5, 3, 1, 1]], "outputs": ["decision_function"]}
    )
    assert len(compiled.get_json()["outputs"]["decision_function"][0]) == 3


def pack(tmp_path: Path, estimator: Any, data: Any, **more: Any) -> Any:
    return bundle.pack(estimator, data, tmp_path / "x", name="x", version="1", **more)


def test_a_model_whose_answers_depend_on_their_company_must_be_confirmed(tmp_path: Path) -> None:
    frame = numbers()
    model = make_pipeline(FunctionTransformer(scale), Ridge()).fit(frame, frame["c0"])
    with pytest.raises(BundleError, match="depends on the other rows of its request"):
        pack(tmp_path, model, frame)
    told: list[str] = []
    assert pack(tmp_path, model, frame, depends_on_company=True, tell=told.append).depends_on_company
    assert "requests share no calls" in told[0]


def test_categories_of_another_type_than_the_data_s_are_named_with_the_type_that_helps(
    tmp_path: Path,
) -> None:
    estimator, frame = KINDS["strict_text"]()
    numbered = frame.assign(port=np.arange(len(frame)) % 3)
    with pytest.raises(BundleError, match=r"'port' holds values of type integer, .* say --type port=string"):
        pack(tmp_path, estimator, numbered)
    texts = numbered.assign(port=numbered["port"].astype(str))
    fitted = estimator.fit(texts, texts["class"])
    card = pack(tmp_path, fitted, numbered, types={"port": "string"})
    assert card.features[0].categories == ["0", "1", "2"]


def test_names_that_no_part_knows_are_relied_on_in_their_order(tmp_path: Path) -> None:
    frame = numbers(3)
    model = make_pipeline(StandardScaler(), Ridge()).fit(frame.to_numpy(), frame["c0"])
    told: list[str] = []
    pack(tmp_path, model, frame, tell=told.append)
    assert told == ["the model does not know its columns' names; it gets them in the data's order"]
    turned = frame[["c2", "c0", "c1"]]
    with pytest.raises(BundleError, match=r"out of order: c2, c0, c1; .* confirm this one: --order"):
        pack(tmp_path, model, turned)
    assert pack(tmp_path, model, turned, order=True).features[0].name == "c2"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns of the data have the name 'a'"),
        (
            pd.DataFrame({"a": [1, "b"], "b": [1, 2]}),
            "the column 'a' mixes values of the types int, str; say --type a=",
        ),
        (pd.DataFrame({"a": pd.to_timedelta([1, 2])}), "the column 'a' is of type timedelta64"),
        (pd.DataFrame({"a": [date(2024, 1, 1)] * 2}), "'a' holds values of type date; say --type a=datetime"),
        (passengers().iloc[:0], "the data has 0 rows"),
    ],
)
def test_data_that_no_request_can_have_is_refused(tmp_path: Path, frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        pack(tmp_path, Answering(), frame)


def test_a_model_that_knows_names_and_refuses_the_frame_is_not_tried_with_an_array(tmp_path: Path) -> None:
    class WantsCategories(Answering):
        feature_names_in_ = ("c0", "c1")

        def predict(self, rows: Any) -> Any:
            if hasattr(rows, "columns"):
                raise ValueError("c1 must be a category")
            return super().predict(rows)

    with pytest.raises(BundleError, match="predict refuses the data: c1 must be a category"):
        pack(tmp_path, WantsCategories(), numbers())


class Answering:
    """Answers any rows, as an estimator of one's own."""

    def predict(self, rows: Any) -> Any:
        return np.zeros(len(rows))


def test_a_wrong_answer_anywhere_on_the_way_is_found(made: Models) -> None:
    model = made["mixed"]
    rows = [[30.5, "Q", 2], [None, None, 3]]
    right = {"predict": predict_own(rows)}
    rehearsal.rehearse(model, rows, right)
    wrong = {"predict": ["no" if label == "yes" else "yes" for label in right["predict"]]}
    with pytest.raises(BundleError, match="sent as lists is answered with predict"):
        rehearsal.rehearse(model, rows, wrong)


def predict_own(rows: list[Any]) -> list[Any]:
    frame = pd.DataFrame(rows, columns=["age", "port", "class"]).astype({"port": "str"})
    labels: list[Any] = mixed()[0].predict(frame).tolist()
    return labels


def test_openapi_has_the_contract_s_types_and_examples_that_work(ask: FlaskClient, made: Models) -> None:
    document = ask.get("/openapi.json").get_json()
    bodies = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"][
        "oneOf"
    ]
    items = {body["title"]: body["properties"]["instances"]["items"] for body in bodies}
    port = items["mixed"]["oneOf"][0]["properties"]["port"]
    assert port == {
        "type": ["string", "null"],
        "description": "Training had C, Q, S; any other is encoded as other.",
    }
    assert items["strict_text"]["oneOf"][1]["prefixItems"][0] == {"type": "string", "enum": ["C", "Q", "S"]}
    assert items["dates"]["oneOf"][0]["properties"]["unread"]["format"] == "date-time"
    assert items["texts"] == {"type": "string"}
    for name in made:
        path = f"/v2/models/{name}/infer"
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert ask.post(path, json=content["example"]).status_code == 200, name


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_whole_data_of_a_model_that_was_fitted_on_an_array_are_numbers(dtype: str, tmp_path: Path) -> None:
    """An array has one type, so nobody can know that the model was fitted on whole numbers alone."""
    array = np.arange(80.0).reshape(40, 2)
    frame = pd.DataFrame(array.astype(dtype), columns=["a", "b"])
    card = pack(tmp_path, Ridge().fit(array + 0.5, array[:, 0]), frame)
    assert [(feature.type, feature.dtype) for feature in card.features] == [("number", None)] * 2
    named = pack(tmp_path, Ridge().fit(frame, array[:, 0]), frame)
    assert [(feature.type, feature.dtype) for feature in named.features] == [("integer", dtype)] * 2


def test_dicts_with_keys_that_a_request_can_t_have_are_refused(tmp_path: Path) -> None:
    rows = [{1: at, "1": at % 3} for at in range(ROWS)]
    model = make_pipeline(DictVectorizer(sort=False), Ridge()).fit(rows, np.arange(ROWS))
    with pytest.raises(BundleError, match=r"the dicts have the key 1 of type int, .* the key '1'"):
        pack(tmp_path, model, rows)

"""Models of data frames that compile: imputers, encoders, scalers and what chooses columns, against scikit-learn."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_extraction import DictVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from model_endpoint.models import rows
from model_endpoint.models.compiled.columns import Chain, Encode, ImputeNumbers, OneHot
from model_endpoint.models.compiled.dicts import OfDicts
from model_endpoint.models.compiled.tables import dense
from model_endpoint.models.contract import FRAME as FORM
from model_endpoint.models.contract import Feature
from model_endpoint.models.errors import RequestError
from model_endpoint.packing.compiling.common import NotCompilableError
from model_endpoint.packing.compiling.compiler import compile_estimator, compile_head
from model_endpoint.packing.compiling.dicts import split_dicts
from model_endpoint.packing.compiling.transformers import compile_transformer
from model_endpoint.packing.proof_columns import _other
from unit.model_endpoint.compiled_cases import array_card, objects, people, served
from unit.model_endpoint.server import SOURCE

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("fewer_rows")]
FRAME, TARGET = people()
NUMBERS, TEXTS = ["age", "fare"], ["sex", "port", "class"]
FILLED = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
CHOSEN = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
MIXED = ColumnTransformer([("number", FILLED, NUMBERS), ("text", CHOSEN, TEXTS)])


LOAD = """
import sys
from pathlib import Path
from model_endpoint.models import model
model.load(Path(sys.argv[1]))["m"].verify()
print(*sorted({"numpy", "sklearn", "pandas", "scipy"} & sys.modules.keys()))
"""
TEXT: dict[str, Any] = {"capture_output": True, "text": True, "check": False}


def test_a_mixed_model_is_served_by_numpy_and_answers_gaps_and_unknown_categories(tmp_path: Path) -> None:
    fitted = make_pipeline(MIXED, LogisticRegression()).fit(FRAME, TARGET > 0)
    model = served(fitted, FRAME, tmp_path)
    assert model.served_by["kind"] == "numpy pipeline"
    asked = [[None, 7.5, "female", "Hamburg", 3], [30.0, 8, "male", None, 99]]
    columns = rows.from_rows(model.card, asked, "rows")
    got = model.predict(rows.prepare(model.card, columns))["predict_proba"]
    frame = pd.DataFrame(asked, columns=FRAME.columns).astype({"age": float})
    frame["port"] = frame["port"].astype(FRAME["port"].dtype)
    np.testing.assert_allclose(got, fitted.predict_proba(frame), rtol=1e-12)
    loaded = run(
        [sys.executable, "-c", LOAD, str(tmp_path / "served")], env={"PYTHONPATH": str(SOURCE)}, **TEXT
    )
    assert loaded.stdout.strip() == "numpy", loaded.stderr


def test_codes_of_text_go_into_trees_and_a_search_is_stripped(tmp_path: Path) -> None:
    code = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    steps = make_column_transformer((code, ["sex", "port"]), ("drop", ["age"]), remainder="passthrough")
    search = GridSearchCV(
        make_pipeline(steps, RandomForestClassifier(5, random_state=0)),
        {"randomforestclassifier__max_depth": [2, 3]},
        cv=2,
    )
    model = served(search.fit(FRAME, TARGET > 0), FRAME, tmp_path)
    assert model.served_by["kind"] == "numpy pipeline"


def kinds(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its texts as pandas' categories."""
    return frame.assign(sex=pd.Categorical(frame["sex"]), port=pd.Categorical(frame["port"]))


def test_boosting_takes_categories_of_text_natively(tmp_path: Path) -> None:
    frame = kinds(FRAME)
    fitted = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype")
    model = served(fitted.fit(frame, TARGET > 0), frame, tmp_path)
    assert model.served_by["kind"] == "numpy pipeline"
    asked = [[None, 7.5, "female", None, 3], [30.0, 8, None, "Hamburg", 99]]
    with pytest.raises(RequestError, match="sex"):  # training had no gap there
        rows.from_rows(model.card, asked, "rows")
    asked[1][2] = "neither"
    found = model.predict(rows.prepare(model.card, rows.from_rows(model.card, asked, "rows")))
    other = pd.DataFrame(asked, columns=FRAME.columns).astype({"age": float, "fare": float})
    for name in ("sex", "port"):
        known = other[name].where(other[name].isin(frame[name].cat.categories))
        other[name] = pd.Categorical(known, dtype=frame[name].dtype)
    np.testing.assert_array_equal(found["predict_proba"], fitted.predict_proba(other))


def test_boosting_takes_one_column_of_objects_by_name() -> None:
    frame = FRAME[["sex", "fare"]].astype({"sex": object})
    frame.loc[::9, "sex"] = None
    fitted = HistGradientBoostingRegressor(max_iter=5, categorical_features=["sex"]).fit(frame, TARGET)
    found = compile_head(fitted)(objects(frame["sex"], frame["fare"]))
    np.testing.assert_array_equal(found["predict"], fitted.predict(frame))


def test_none_is_a_category_of_its_own_and_no_gap() -> None:
    frame = pd.DataFrame({"port": np.array(["C", None, "Q"], object)})
    fitted = OrdinalEncoder(encoded_missing_value=-5).fit(frame)
    [step] = compile_transformer(fitted)
    np.testing.assert_array_equal(dense(step(objects(frame["port"]))), fitted.transform(frame))


def dated() -> pd.DataFrame:
    """Passengers with the day that each came aboard, which some lack."""
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(FRAME)) % 40, "D")
    frame = pd.DataFrame({"day": days, "fare": FRAME["fare"]})
    frame.loc[::9, "day"] = pd.NaT
    return frame


@pytest.mark.parametrize(
    ("encoder", "gaps"),
    [
        (OneHotEncoder(handle_unknown="ignore"), True),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), False),
        (StandardScaler(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_dates_are_encoded_and_scaled_by_numpy(encoder: Any, gaps: bool, tmp_path: Path) -> None:
    frame = dated() if gaps else dated().bfill()
    fitted = make_pipeline(make_column_transformer((encoder, ["day"]), remainder="passthrough"), Ridge())
    model = served(fitted.fit(frame, TARGET), frame, tmp_path)
    assert model.served_by["kind"] == "numpy pipeline", model.served_by
    asked = [["2024-01-03", 7.5], ["2031-05-06T07:08:09", 8.0]]
    found = model.predict(rows.prepare(model.card, rows.from_rows(model.card, asked, "rows")))["predict"]
    other = pd.DataFrame(asked, columns=frame.columns)
    other["day"] = pd.to_datetime(other["day"], format="ISO8601").astype(frame["day"].dtype)
    np.testing.assert_allclose(found, fitted.predict(other), rtol=1e-12)


def test_the_proof_has_dates_that_training_did_not_have() -> None:
    feature = Feature(
        "day", "datetime", "2024-01-01T00:00:00", "2024-01-11T00:00:00.5", dtype="datetime64[us]"
    )
    generator = np.random.default_rng(0)
    days = [np.datetime64(_other(feature, ["2024-01-02"], generator)) for _ in range(50)]
    assert len(set(days)) > 40
    assert np.datetime64("2023-12-27") <= min(days) < np.datetime64("2024-01-01")
    assert np.datetime64("2024-01-11") < max(days) <= np.datetime64("2024-01-17")
    assert _other(replace(feature, dtype="datetime64[us, UTC]"), ["2024-01-02"], generator) == "2024-01-02"


def test_dates_with_a_time_zone_have_no_rule() -> None:
    card = array_card(1)
    zoned = replace(card.features[0], type="datetime", dtype="datetime64[us, UTC]")
    with pytest.raises(NotCompilableError, match="time zone, which 'c0' has"):
        compile_estimator(Ridge().fit([[1.0]], [1.0]), replace(card, features=[zoned], form=FORM))


@pytest.mark.parametrize("sparse", [True, False])
def test_dicts_of_texts_and_numbers_are_served_by_numpy(sparse: bool, tmp_path: Path) -> None:
    dicts = [
        {name: value for name, value in row.items() if value == value} for row in FRAME.to_dict("records")
    ]
    fitted = make_pipeline(DictVectorizer(sparse=sparse), MaxAbsScaler(), LogisticRegression())
    model = served(fitted.fit(dicts, TARGET > 0), dicts, tmp_path)
    assert model.served_by["kind"] == "numpy pipeline", model.served_by
    asked: list[dict[str, Any]] = [
        {},
        {"age": 4.0},
        {"sex": "neither", "port": "Q", "fare": 0.0},
        {"sex": "male", "class": 7},
    ]
    columns = rows.from_rows(model.card, asked, "rows")
    found = model.predict(rows.prepare(model.card, columns))["predict_proba"]
    np.testing.assert_allclose(found, fitted.predict_proba(asked), rtol=1e-12)
    lonely = rows.from_rows(model.card, [{}], "rows")
    np.testing.assert_allclose(model.predict(rows.prepare(model.card, lonely))["predict_proba"], found[:1])


def test_a_key_of_dicts_may_have_the_separator_in_it() -> None:
    dicts = [{"a=b": "c", "a": "b=c", "n": 2.0}, {"a=b": "d", "a": 7.0, "n": "x"}]
    fitted = DictVectorizer(sparse=False).fit(dicts)
    step = OfDicts(["a", "a=b", "n"], list(fitted.feature_names_), "=", False)
    found = step(objects(["b=c", 7.0], ["c", "d"], [2.0, "x"]))
    np.testing.assert_array_equal(dense(found), fitted.transform(dicts))  # which adds both up to 2
    with pytest.raises(ValueError, match="20000 letters"):
        OfDicts(["a"], ["a" * 20_000], "=", True)


def test_dicts_that_no_vectorizer_gets_first_have_no_rule() -> None:
    with pytest.raises(NotCompilableError, match="without a DictVectorizer first"):
        split_dicts(LogisticRegression(), array_card(2))


ENCODERS = [
    OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
    OneHotEncoder(drop="first"),
    OneHotEncoder(min_frequency=0.2, handle_unknown="infrequent_if_exist"),
    OneHotEncoder(max_categories=2, drop="first", handle_unknown="infrequent_if_exist"),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, min_frequency=0.2),
    OrdinalEncoder(encoded_missing_value=-5),
    TargetEncoder(random_state=0),
]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: repr(encoder)[:60])
def test_an_encoder_gives_its_own_columns(encoder: Any) -> None:
    frame = FRAME[TEXTS]
    fitted = encoder.fit(frame, TARGET)
    expected = fitted.transform(frame)
    [step] = compile_transformer(fitted)
    table = objects(*(frame[name] for name in TEXTS))
    found = expected.toarray() if hasattr(expected, "toarray") else expected
    np.testing.assert_array_equal(dense(step(table)), found)
    assert step.width(3) == found.shape[1]
    strange = [np.array(["neither"], object), np.array(["Z"], object), np.array([9])]
    if "error" in str(getattr(encoder, "handle_unknown", "")):
        with pytest.raises(ValueError, match="training had no 'neither'"):
            step(strange)
        return
    other = pd.DataFrame({"sex": ["neither"], "port": ["Z"], "class": [9]})
    expected = fitted.transform(other)
    found = expected.toarray() if hasattr(expected, "toarray") else expected
    np.testing.assert_array_equal(dense(step(strange)), found)


def test_imputers_fill_and_mark_gaps_of_numbers_and_of_values() -> None:
    numbers = np.array([[1.0, -9, np.nan], [3.0, 4, np.nan], [-9, 5, np.nan]])
    for imputer in (
        SimpleImputer(strategy="mean", add_indicator=True),
        SimpleImputer(strategy="constant", fill_value=7.0),
        SimpleImputer(strategy="median", keep_empty_features=True),
    ):
        expected = imputer.fit_transform(numbers)
        [step] = compile_transformer(imputer)
        np.testing.assert_array_equal(dense(step(numbers)), expected)
        assert step.width(3) == expected.shape[1]
    marked = SimpleImputer(missing_values=-9).fit(numbers[:, :2])
    [step] = compile_transformer(marked)
    np.testing.assert_array_equal(dense(step(numbers[:, :2])), marked.transform(numbers[:, :2]))
    with pytest.raises(ValueError, match="missing"):
        step(numbers)


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(drop="first"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        OrdinalEncoder(),
    ],
    ids=lambda encoder: repr(encoder)[:60],
)
@pytest.mark.parametrize(
    "fill", [{"strategy": "most_frequent"}, {"strategy": "constant", "fill_value": "none"}]
)
def test_a_filled_gap_is_encoded_in_one_step(encoder: Any, fill: Any) -> None:
    frame = FRAME[["sex", "port"]]
    fitted = make_pipeline(SimpleImputer(**fill), encoder).fit(frame)
    expected = fitted.transform(frame)
    step = Chain(compile_transformer(fitted))
    if encoder.handle_unknown != "error" or isinstance(encoder, OneHotEncoder):
        assert len(step.steps) == 1
        assert not isinstance(step.steps[0], Chain)
    found = expected.toarray() if hasattr(expected, "toarray") else expected
    np.testing.assert_array_equal(dense(step(objects(frame["sex"], frame["port"]))), found)


def test_a_union_puts_its_parts_side_by_side() -> None:
    numbers = FRAME[["fare", "class"]].to_numpy()
    union = FeatureUnion([("a", StandardScaler()), ("no", "drop"), ("b", "passthrough")]).fit(numbers)
    [step] = compile_transformer(union)
    np.testing.assert_array_equal(step(numbers), union.transform(numbers))
    with pytest.raises(NotCompilableError, match="weights"):
        compile_transformer(
            FeatureUnion([("a", StandardScaler())], transformer_weights={"a": 2}).fit(numbers)
        )


def test_a_step_without_a_rule_is_named() -> None:
    class Own(StandardScaler):  # type: ignore[misc]
        pass

    with pytest.raises(NotCompilableError, match="Own"):
        compile_estimator(
            make_pipeline(make_column_transformer((Own(), ["fare"])), Ridge()).fit(FRAME, TARGET)
        )


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (OfDicts(["a", "b"], ["a=x"], "=", True), "keys of other columns"),
        (OfDicts(["a"], [], "=", True), "0 features"),
        (OneHot([["a", "b"]], [[0, 7]], [-1], 2), "categories lie outside"),
        (OneHot([["a"]], [[0]], [-3], 1), "categories lie outside"),
        (Encode([["a", "b"]], [np.zeros((2, 1))], [False]), "numbers of other categories"),
        (ImputeNumbers(np.nan, np.zeros(1), np.array([1]), np.array([], int)), "kept columns lie outside"),
    ],
)
def test_a_step_that_points_outside_is_refused(step: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        step.width(1)

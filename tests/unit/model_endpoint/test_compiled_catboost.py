"""CatBoost's trees as numpy has them, against CatBoost and against a model written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_endpoint.models.compiled.oblivious import Oblivious
from model_endpoint.packing.compiling.common import NotCompilableError
from model_endpoint.packing.compiling.compiler import compile_estimator
from unit.model_endpoint.compiled_cases import proved

pytestmark = pytest.mark.usefixtures("fewer_rows")
IRIS, CANCER, DIABETES = load_iris(), load_breast_cancer(), load_diabetes()
NAMES = IRIS.target_names[IRIS.target]
GAPS = CANCER.data[:, :6].copy()
GAPS[np.random.default_rng(0).random(GAPS.shape) < 0.1] = np.nan
FEW: dict[str, Any] = {"iterations": 12, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
TWO = np.stack([DIABETES.target, -DIABETES.target], axis=1)

LIBRARY: dict[str, tuple[Any, Any, Any]] = {
    "two classes": (CatBoostClassifier(**FEW), CANCER.data, CANCER.target),
    "three classes": (CatBoostClassifier(**FEW, depth=9), IRIS.data, NAMES),
    "each class": (CatBoostClassifier(**FEW, loss_function="MultiClassOneVsAll"), IRIS.data, IRIS.target),
    "gaps above": (CatBoostClassifier(**FEW, nan_mode="Max"), GAPS, CANCER.target),
    "gaps below": (CatBoostClassifier(**FEW), GAPS, CANCER.target),
    "counts after a scaler": (
        make_pipeline(StandardScaler(), CatBoostRegressor(**FEW, loss_function="Poisson")),
        DIABETES.data,
        DIABETES.target,
    ),
    "two targets": (CatBoostRegressor(**FEW, loss_function="MultiRMSE"), DIABETES.data, TWO),
}


@pytest.mark.parametrize(("estimator", "data", "target"), LIBRARY.values(), ids=LIBRARY)
def test_catboost_s_own_answers(estimator: Any, data: Any, target: Any, tmp_path: Path) -> None:
    proved(estimator.fit(data, target), data, tmp_path)


def split(column: int, border: float) -> dict[str, Any]:
    return {"border": border, "float_feature_index": column, "split_type": "FloatFeature"}


def content(**changes: Any) -> dict[str, Any]:
    """A model as CatBoost writes it: column 2 is its second column of numbers, and high where it is missing."""
    columns = [{"feature_index": 0, "flat_feature_index": 0, "nan_value_treatment": "AsIs"}]
    columns += [{"feature_index": 1, "flat_feature_index": 2, "nan_value_treatment": "AsTrue"}]
    trees = [
        {"splits": [split(0, 0.5), split(1, 2.0)], "leaf_values": [1.0, 2.0, 4.0, 8.0]},
        {"splits": [split(1, 3.0)], "leaf_values": [16.0, 32.0]},
        {"splits": None, "leaf_values": [64.0]},
    ]
    loss = {"params": {"loss_function": {"type": "RMSE"}}}
    made = {"features_info": {"float_features": columns}, "model_info": loss}
    return {**made, "oblivious_trees": trees, "scale_and_bias": [0.5, [100.0]], **changes}


def stands_in(name: str = "CatBoostRegressor", **changes: Any) -> Any:
    """An estimator of CatBoost, as far as the compiler asks it."""

    def save_model(self: Any, path: str, format: str) -> None:  # noqa: A002 - CatBoost's own name
        assert format == "json"
        Path(path).write_text(json.dumps(content(**changes)))

    kind = type(name, (), {"save_model": save_model, "n_features_in_": 3, "classes_": np.array(["a", "b"])})
    kind.__module__ = "catboost.core"
    return kind()


def test_a_row_gets_the_leaf_whose_questions_it_answers() -> None:
    rows = np.array(
        [
            [0.0, 9.0, 0.0],
            [0.6, 9.0, 0.0],
            [0.5, 9.0, 2.5],  # 0.5 is not above 0.5
            [0.6, 9.0, 3.5],
            [0.6, 9.0, np.nan],
            [np.nan, 9.0, 0.0],
            [0.5 + 1e-9, 9.0, 0.0],  # in float32 this is 0.5
        ]
    )
    leaves = np.array([1 + 16, 2 + 16, 4 + 16, 8 + 32, 8 + 32, 1 + 16, 1 + 16])
    expected = 100 + 0.5 * (leaves + 64)
    np.testing.assert_array_equal(compile_estimator(stands_in())(rows)["predict"], expected)


def test_labels_are_a_column_where_catboost_has_them_so() -> None:
    def info(loss: str) -> dict[str, Any]:
        return {"params": {"loss_function": {"type": loss}}}

    rows = np.zeros((2, 3))
    two = compile_estimator(stands_in("CatBoostClassifier", model_info=info("Logloss")))(rows)
    assert two["predict"].tolist() == ["b", "b"]
    leaves = [{"splits": [split(0, 1.0)], "leaf_values": [0.0, 1.0, 2.0, 3.0]}]
    several = {"oblivious_trees": leaves, "scale_and_bias": [1, [0, 0]], "model_info": info("MultiClass")}
    found = compile_estimator(stands_in("CatBoostClassifier", **several))(rows)
    assert found["predict"].tolist() == [["b"], ["b"]]
    np.testing.assert_allclose(found["predict_proba"][0, 1], 1 / (1 + np.exp(-1)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features_info": {"float_features": [], "categorical_features": []}}, "categorical features"),
        ({"oblivious_trees": None, "trees": [{}]}, "node by node"),
        ({"oblivious_trees": [{"splits": [{"split_type": "OnlineCtr"}]}]}, "splits by OnlineCtr"),
        ({"model_info": {"params": {"loss_function": {"type": "PairLogit"}}}}, "loss PairLogit"),
    ],
)
def test_what_has_no_rule_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(NotCompilableError, match=words):
        compile_estimator(stands_in(**changes))


NUMBERS, BORDERS, LEAVES, NONE = (
    np.zeros((2, 1), int),
    np.zeros((2, 1)),
    np.zeros((2, 2, 1)),
    np.zeros(0, int),
)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Oblivious(NUMBERS + 3, BORDERS, LEAVES, 1.0, np.zeros(1), NONE), "questions lie outside"),
        (Oblivious(NUMBERS, np.zeros((2, 2)), LEAVES, 1.0, np.zeros(1), NONE), "other questions"),
        (Oblivious(NUMBERS, BORDERS, np.zeros((2, 1, 1)), 1.0, np.zeros(1), NONE), "leaves of other trees"),
        (Oblivious(NUMBERS, BORDERS, LEAVES, 1.0, np.zeros(2), NONE), "scores"),
        (Oblivious(NUMBERS, BORDERS, LEAVES, 1.0, np.zeros(1), np.array([7])), "missing values lie outside"),
    ],
)
def test_trees_that_point_outside_are_refused(step: Oblivious, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        step.width(3)


def test_trees_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="another shape"):
        Oblivious(NUMBERS[0], BORDERS[0], LEAVES, 1.0, np.zeros(1), NONE)

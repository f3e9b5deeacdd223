"""Compiled predictors against scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.decomposition import FactorAnalysis
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    MultiTaskLasso,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.neighbors import RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from model_endpoint.models.compiled.files import read_arrays
from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.packing import proof
from model_endpoint.packing.compiling.common import NotCompilableError
from model_endpoint.packing.compiling.compiler import compile_estimator
from model_endpoint.packing.compiling.trees import _shares
from unit.model_endpoint.proving import proof_of

IRIS, CANCER, DIABETES = load_iris(), load_breast_cancer(), load_diabetes()
NAMES = IRIS.target_names[IRIS.target]
pytestmark = pytest.mark.usefixtures("fewer_rows")
MANY = {"n_estimators": 12, "random_state": 0}

CASES: list[tuple[Any, Any, Any]] = [
    (make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)), IRIS.data, NAMES),
    (
        make_pipeline(StandardScaler(with_mean=False), LogisticRegression(max_iter=5000)),
        CANCER.data,
        CANCER.target,
    ),
    (make_pipeline(MinMaxScaler(clip=True), RidgeClassifier()), IRIS.data, NAMES),
    (make_pipeline(MaxAbsScaler(), "passthrough", LinearSVC()), IRIS.data, IRIS.target > 1),
    (make_pipeline(RobustScaler(), SGDClassifier(loss="log_loss", random_state=0)), IRIS.data, NAMES),
    (SGDClassifier(random_state=0), IRIS.data, NAMES),
    (LinearDiscriminantAnalysis(), IRIS.data, NAMES),
    (LinearRegression(), DIABETES.data, DIABETES.target),
    (Ridge(), DIABETES.data, np.stack([DIABETES.target, -DIABETES.target], axis=1)),
    (make_pipeline(RobustScaler(with_scaling=False), ElasticNet()), DIABETES.data, DIABETES.target),
    (PoissonRegressor(), DIABETES.data, DIABETES.target),
    (TweedieRegressor(power=1.5), DIABETES.data, DIABETES.target),
    (TweedieRegressor(power=0), DIABETES.data, DIABETES.target),
    (MultiTaskLasso(), DIABETES.data, np.stack([DIABETES.target, -DIABETES.target], axis=1)),
    (RandomForestClassifier(**MANY), CANCER.data, CANCER.target_names[CANCER.target]),
    (RandomForestClassifier(**MANY), IRIS.data, np.stack([NAMES, NAMES == "setosa"], axis=1)),
    (RandomForestRegressor(**MANY), DIABETES.data, DIABETES.target - DIABETES.target.mean()),
    (ExtraTreesClassifier(**MANY), IRIS.data, IRIS.target),
    (ExtraTreesRegressor(**MANY), DIABETES.data, np.stack([DIABETES.target, -DIABETES.target], axis=1)),
    (make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)), IRIS.data, NAMES),
    (DecisionTreeRegressor(random_state=0), DIABETES.data, DIABETES.target),
    (GradientBoostingClassifier(**MANY), CANCER.data, CANCER.target),
    (GradientBoostingClassifier(**MANY), IRIS.data, NAMES),
    (GradientBoostingRegressor(**MANY), DIABETES.data, DIABETES.target),
    (HistGradientBoostingClassifier(max_iter=12), IRIS.data, NAMES),
    (HistGradientBoostingClassifier(max_iter=12), CANCER.data, CANCER.target),
    (HistGradientBoostingRegressor(max_iter=12, loss="poisson"), DIABETES.data, DIABETES.target),
]


@pytest.mark.parametrize(("estimator", "data", "target"), CASES, ids=lambda value: type(value).__name__)
def test_compiled_answers_are_scikit_learns(estimator: Any, data: Any, target: Any, tmp_path: Path) -> None:
    fitted = clone(estimator).fit(data, target)
    compile_estimator(fitted).save(tmp_path / "predictor.npz")
    found = proof_of(fitted, CompiledPredictor.from_arrays(read_arrays(tmp_path / "predictor.npz")), data)
    assert found.largest_difference <= proof.TOLERANCE
    assert found.bit_for_bit == (found.largest_difference == 0)


def test_the_shipped_kinds_agree_bit_for_bit() -> None:
    for estimator, data, target in (CASES[0], CASES[11]):
        fitted = clone(estimator).fit(data, target)
        assert proof_of(fitted, compile_estimator(fitted), data).bit_for_bit


def test_both_ways_through_a_forest_give_the_same_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forest = RandomForestClassifier(**MANY).fit(CANCER.data, CANCER.target)
    candidate = compile_estimator(forest)
    expected = forest.predict_proba(CANCER.data[:9])
    for limit in (0, 10**9):
        monkeypatch.setattr("model_endpoint.models.compiled.trees.TEST_ALL_NODES", limit)
        np.testing.assert_array_equal(candidate(CANCER.data[:9])["predict_proba"], expected)


@pytest.mark.parametrize(
    "estimator",
    [RadiusNeighborsClassifier(), make_pipeline(FactorAnalysis(2), LogisticRegression(max_iter=5000))],
    ids=["neighbours", "factors"],
)
def test_an_estimator_without_a_rule_is_named(estimator: Any) -> None:
    with pytest.raises(NotCompilableError, match=r"no rule for (RadiusNeighborsClassifier|FactorAnalysis)"):
        compile_estimator(estimator.fit(IRIS.data, NAMES))


def test_a_subclass_is_not_taken_for_its_base() -> None:
    class Contrary(LogisticRegression):  # type: ignore[misc]
        def predict(self, rows: Any) -> Any:
            return super().predict(rows)[::-1]

    with pytest.raises(NotCompilableError, match="Contrary"):
        compile_estimator(Contrary().fit(IRIS.data, NAMES))


def test_a_tree_of_scikit_learn_1_3_holds_weights_of_rows() -> None:
    shares = DecisionTreeClassifier(max_depth=2, random_state=0).fit(IRIS.data, NAMES).tree_.value[:, 0]
    weights = shares * np.arange(1.0, len(shares) + 1)[:, np.newaxis]
    np.testing.assert_allclose(_shares(weights), shares)
    assert _shares(shares) is shares  # those of later versions keep their last bits
    assert not _shares(np.zeros((1, 3))).any()

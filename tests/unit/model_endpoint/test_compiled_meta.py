"""Models of models that compile, against scikit-learn; and the file of a compiled model, which may be hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from model_endpoint.models.compiled.columns import Pick
from model_endpoint.models.compiled.composed import PROGRAM, load
from model_endpoint.models.compiled.meta import DECISION
from model_endpoint.models.compiled.several import EachLabel, InTurn, LikelyLabels, Median
from model_endpoint.models.kinds import COMPILED_FILE
from model_endpoint.packing.compiling.compiler import compile_head
from unit.model_endpoint.compiled_cases import served

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("fewer_rows")]
IRIS, CANCER, DIABETES = load_iris(), load_breast_cancer(), load_diabetes()
NAMES = IRIS.target_names[IRIS.target]
FEW, FEW_LABELS = CANCER.data[:, :5], CANCER.target_names[CANCER.target]
LINE = make_pipeline(StandardScaler(), LogisticRegression())
TREE = DecisionTreeClassifier(max_depth=3, random_state=0)
SMALL_TREE = DecisionTreeRegressor(max_depth=3, random_state=0)
MEMBERS = [("line", LINE), ("tree", TREE), ("bayes", GaussianNB())]
TWO = np.stack([DIABETES.target, DIABETES.target**2], axis=1)

LABELS = np.stack([IRIS.data[:, 0] > 5.8, IRIS.data[:, 1] > 3, IRIS.target == 1], axis=1).astype(int)
CHAIN: dict[str, Any] = {"order": "random", "random_state": 1, "chain_method": "predict_proba"}

CASES: list[tuple[Any, Any, Any]] = [
    (VotingClassifier(MEMBERS, voting="soft", weights=[3, 1, 2]), IRIS.data, NAMES),
    (VotingClassifier(MEMBERS), IRIS.data, NAMES),
    (VotingRegressor([("a", Ridge()), ("b", SMALL_TREE)]), DIABETES.data, DIABETES.target),
    (StackingClassifier(MEMBERS, cv=3), IRIS.data, NAMES),
    (StackingClassifier(MEMBERS[:2], cv=3, passthrough=True), FEW, FEW_LABELS),
    (StackingRegressor([("a", Ridge()), ("b", SMALL_TREE)], cv=3), DIABETES.data, DIABETES.target),
    (CalibratedClassifierCV(LinearSVC(), cv=2), FEW, FEW_LABELS),
    (CalibratedClassifierCV(TREE, method="isotonic", cv=2), IRIS.data, NAMES),
    (FixedThresholdClassifier(LINE, threshold=0.8, pos_label="benign"), FEW, FEW_LABELS),
    (
        FixedThresholdClassifier(
            LINE, threshold=0.5, pos_label="benign", response_method="decision_function"
        ),
        FEW,
        FEW_LABELS,
    ),
    (TunedThresholdClassifierCV(LINE, cv=2), FEW, CANCER.target),
    (OneVsRestClassifier(LINE), IRIS.data, NAMES),
    (OneVsRestClassifier(TREE), IRIS.data, NAMES),
    (OneVsRestClassifier(LINE), IRIS.data, LABELS),
    (OneVsRestClassifier(TREE), IRIS.data, LABELS),
    (MLPClassifier((4,), max_iter=30, random_state=0), IRIS.data, LABELS),
    (ClassifierChain(LINE, order=[2, 0, 1]), IRIS.data, LABELS),
    (ClassifierChain(TREE, **CHAIN), IRIS.data, LABELS),
    (RegressorChain(Ridge(), order=[1, 0]), DIABETES.data, TWO),
    (MultiOutputClassifier(LINE), IRIS.data, np.stack([NAMES, NAMES[::-1]], axis=1)),
    (MultiOutputRegressor(Ridge()), DIABETES.data, TWO),
    (
        TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
        DIABETES.data,
        DIABETES.target,
    ),
    (TransformedTargetRegressor(Ridge(), transformer=StandardScaler()), DIABETES.data, DIABETES.target),
    (BaggingClassifier(LINE, 3, max_features=2, random_state=0), IRIS.data, NAMES),
    (BaggingRegressor(LinearRegression(), 3, random_state=0), DIABETES.data, DIABETES.target),
    (AdaBoostClassifier(n_estimators=5, random_state=0), IRIS.data, NAMES),
    (AdaBoostClassifier(n_estimators=5, random_state=0), FEW, FEW_LABELS),
    (AdaBoostRegressor(SMALL_TREE, n_estimators=7, random_state=0), DIABETES.data, DIABETES.target),
]


@pytest.mark.parametrize(("estimator", "data", "target"), CASES, ids=lambda value: type(value).__name__)
@pytest.mark.filterwarnings("ignore")
def test_a_model_of_models_is_served_by_numpy(estimator: Any, data: Any, target: Any, tmp_path: Path) -> None:
    model = served(estimator.fit(data, target), data, tmp_path)
    assert model.served_by["kind"] == "numpy pipeline", model.served_by


@pytest.mark.parametrize(("data", "target"), [(IRIS.data, NAMES), (FEW, FEW_LABELS)])
def test_an_older_adaboost_asks_its_members_how_likely_each_class_is(data: Any, target: Any) -> None:
    fitted = AdaBoostClassifier(TREE, n_estimators=4, random_state=0).fit(data, target)
    fitted.algorithm = "SAMME.R"  # the usual way before scikit-learn 1.6
    found = compile_head(fitted)(data, True, [DECISION])
    classes = len(fitted.classes_)
    logs = [np.log(np.clip(part.predict_proba(data), 2.0**-52, None)) for part in fitted.estimators_]
    scores = sum((classes - 1) * (one - one.mean(axis=1, keepdims=True)) for one in logs)
    scores = scores / fitted.estimator_weights_.sum()
    np.testing.assert_array_equal(found["predict"], fitted.classes_[scores.argmax(axis=1)])
    expected = scores[:, 1] - scores[:, 0] if classes == 2 else scores
    np.testing.assert_allclose(found[DECISION], expected, rtol=1e-10, atol=1e-10)


def _program(folder: Path) -> tuple[Any, dict[str, Any], Path]:
    path = folder / "served" / "m" / COMPILED_FILE
    arrays = dict(np.load(path))
    return json.loads(arrays.pop(PROGRAM).tobytes()), arrays, path


def _deep(program: Any) -> Any:
    for _ in range(60):
        program = {"part": "Relabel", "head": program, "labels": {"array": "array0"}}
    return program


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda program: program | {"part": "Popen"}, "Popen"),
        (lambda program: program | {"weights": 3}, "Vote.weights is no Floats"),
        (lambda program: program | {"members": [{"part": "Apply", "name": "exp"}]}, "Vote.members is no"),
        (lambda program: program | {"members": []}, "a vote without members"),
        (lambda program: program | {"more": 1}, "more"),
        (lambda program: program["members"][0], ""),
        (_deep, "too deep"),
    ],
    ids=["kind", "array", "parts", "empty", "unknown", "whole", "deep"],
)
def test_a_changed_file_is_refused(change: Any, words: str, tmp_path: Path) -> None:
    fitted = VotingClassifier(MEMBERS[:2], voting="soft").fit(IRIS.data, NAMES)
    card = served(fitted, IRIS.data, tmp_path).card
    program, arrays, path = _program(tmp_path)
    text = json.dumps(change(program))
    np.savez(path, allow_pickle=False, **arrays | {PROGRAM: np.frombuffer(text.encode(), np.uint8)})
    if not words:  # a member alone is a model as well
        assert load(path, card)(IRIS.data[:2])["predict"].shape == (2,)
        return
    with pytest.raises((ValueError, KeyError, TypeError), match=words):
        load(path, card)


def test_a_file_with_other_indices_is_refused(tmp_path: Path) -> None:
    bag = BaggingClassifier(LINE, 2, max_features=2, random_state=0).fit(IRIS.data, NAMES)
    card = served(bag, IRIS.data, tmp_path).card
    program, arrays, path = _program(tmp_path)
    name = program["members"][0]["steps"][0]["at"]["array"]
    arrays[name] = arrays[name] + 4
    arrays[PROGRAM] = np.frombuffer(json.dumps(program).encode(), np.uint8)
    np.savez(path, allow_pickle=False, **arrays)
    with pytest.raises(ValueError, match="chosen columns lie outside"):
        load(path, card)


LINES = [compile_head(LogisticRegression().fit(IRIS.data, label)) for label in LABELS.T]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (EachLabel(LINES, ["predict"] * 3, True, True), "unknown output"),
        (EachLabel(LINES, [DECISION], True, True), "other labels"),
        (InTurn(LINES[:1], "predict", np.array([1]), True, True), "outputs of other models"),
        (InTurn([], "predict", np.zeros(0, int), True, True), "without models"),
        (InTurn(LINES[:2], "predict", np.arange(2), True, True), "other columns"),
        (Median(LINES, np.ones(2)), "weights of other members"),
        (LikelyLabels([Pick(np.array([0]))]), "one label"),
    ],
)
def test_a_head_that_contradicts_itself_is_refused(head: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        head.check(4)

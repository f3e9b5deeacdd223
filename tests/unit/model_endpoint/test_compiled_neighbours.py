"""Models that ask the nearest rows and compile, against scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_endpoint.models.compiled.neighbours import LocalDensity, NearClasses, NearValues, Neighbours
from model_endpoint.packing.compiling.common import NotCompilableError
from model_endpoint.packing.compiling.compiler import compile_estimator
from unit.model_endpoint.compiled_cases import proved, served

pytestmark = pytest.mark.usefixtures("fewer_rows")
IRIS, CANCER = load_iris(), load_breast_cancer()
NAMES = IRIS.target_names[IRIS.target]
CELLS = CANCER.data[:, :9]
WHOLE = IRIS.data.round()  # of which many are equally near

CASES: list[tuple[Any, Any, Any]] = [
    *((KNeighborsClassifier(count), IRIS.data, NAMES) for count in (1, 2, 5)),
    *((KNeighborsClassifier(count, leaf_size=4), WHOLE, NAMES) for count in (1, 4, 7)),
    (KNeighborsClassifier(weights="distance"), IRIS.data, NAMES),
    (KNeighborsClassifier(70), IRIS.data, NAMES),
    (make_pipeline(StandardScaler(), KNeighborsClassifier()), CELLS, CANCER.target),
    (KNeighborsRegressor(), IRIS.data, IRIS.target * 1.5),
    (KNeighborsRegressor(3, weights="distance"), IRIS.data, IRIS.target * 1.5),
    (LocalOutlierFactor(novelty=True), IRIS.data, None),
    (LocalOutlierFactor(5, novelty=True, contamination=0.1), CELLS, None),
]


@pytest.mark.parametrize(("estimator", "data", "target"), CASES, ids=lambda value: repr(value)[:50])
def test_neighbours_answer_as_scikit_learn_s_do(
    estimator: Any, data: Any, target: Any, tmp_path: Path
) -> None:
    proved(clone(estimator).fit(data, target), data, tmp_path)


def test_equally_near_rows_are_found_in_the_order_of_the_search_tree() -> None:
    fitted = KNeighborsClassifier(4, leaf_size=4).fit(WHOLE, NAMES)
    found = compile_estimator(fitted)(WHOLE)["predict_proba"]
    np.testing.assert_array_equal(found, fitted.predict_proba(WHOLE))
    without = KNeighborsClassifier(4, algorithm="brute").fit(WHOLE, NAMES)
    assert not np.array_equal(found, without.predict_proba(WHOLE))  # the order matters here


def test_they_are_packed_and_served_by_numpy(tmp_path: Path) -> None:
    fitted = LocalOutlierFactor(novelty=True).fit(IRIS.data)
    model = served(fitted, IRIS.data, tmp_path)
    assert model.served_by["kind"] == "numpy pipeline"
    assert [output.name for output in model.card.outputs] == ["predict", "decision_function", "score_samples"]


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (lambda: KNeighborsClassifier(p=1).fit(IRIS.data, NAMES), "by manhattan"),
        (lambda: KNeighborsClassifier(algorithm="ball_tree").fit(IRIS.data, NAMES), "ball_tree"),
        (lambda: KNeighborsClassifier().fit(CANCER.data, CANCER.target), "by euclidean and brute"),
        (lambda: KNeighborsClassifier(weights=np.exp).fit(IRIS.data, NAMES), "one's own"),
        (lambda: KNeighborsRegressor().fit(IRIS.data.astype(np.float32), IRIS.target), "float32"),
        (lambda: KNeighborsRegressor().fit(np.arange(4000.0).reshape(-1, 1), np.arange(4000)), "4000"),
        (lambda: KNeighborsRegressor().fit(IRIS.data, IRIS.data), "several outputs"),
    ],
)
def test_what_has_no_rule_is_named(fit: Any, words: str) -> None:
    with pytest.raises(NotCompilableError, match=words):
        compile_estimator(fit())


def near(**changes: Any) -> Neighbours:
    """Three rows in a tree of three nodes."""
    parts = {"order": [0, 1, 2], "starts": [0, 0, 1], "ends": [3, 1, 3], "leaves": [0, 1, 1]}
    given = {name: np.array(changes.pop(name, part)) for name, part in parts.items()}
    return Neighbours(np.eye(3, 2), **{"count": 1, "bounds": np.zeros((2, 3, 2)), **given, **changes})


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda: near().check(3), "rows of other columns"),
        (lambda: near(count=4).check(2), "more neighbours than rows"),
        (lambda: near(starts=[0, 0]).check(2), "nodes of another tree"),
        (lambda: near(bounds=np.zeros((2, 1, 2))).check(2), "bounds of another tree"),
        (lambda: near(order=[0, 1, 9]).check(2), "rows of the tree lie outside"),
        (lambda: near(leaves=[0, 1, 0]).check(2), "node of the tree lies outside"),
        (lambda: NearClasses(near(), np.array([0, 1]), NAMES[:2], False).check(2), "classes of other rows"),
        (lambda: NearClasses(near(), np.array([0, 1, 7]), NAMES[:2], False).check(2), "classes lie outside"),
        (lambda: NearValues(near(), np.zeros(2), False).check(2), "values of other rows"),
        (lambda: LocalDensity(near(), np.zeros(3), np.zeros(2)).width(2), "densities of other rows"),
    ],
)
def test_a_part_that_contradicts_itself_is_refused(check: Any, words: str) -> None:
    near().check(2)
    with pytest.raises(ValueError, match=words):
        check()

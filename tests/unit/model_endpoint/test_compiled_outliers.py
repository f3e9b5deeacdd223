"""Models that tell unusual rows from others and compile, against scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import SGDOneClassSVM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_endpoint.models.compiled.outliers import Asked, Inliers, Isolation
from model_endpoint.packing.compiling.compiler import compile_head
from unit.model_endpoint.compiled_cases import proved, served

pytestmark = pytest.mark.usefixtures("fewer_rows")
CELLS = load_breast_cancer().data[:201]
GAPS = CELLS[:, :4].copy()
GAPS[np.random.default_rng(0).random(GAPS.shape) < 0.1] = np.nan
FEW: dict[str, Any] = {"n_estimators": 9, "random_state": 0}

CASES: list[tuple[Any, Any]] = [
    (IsolationForest(**FEW), CELLS),
    (IsolationForest(**FEW, max_features=3, contamination=0.25), CELLS),
    (make_pipeline(StandardScaler(), IsolationForest(**FEW, max_samples=2)), CELLS),
    (IsolationForest(**FEW), GAPS),
    (make_pipeline(StandardScaler(), SGDOneClassSVM(random_state=0)), CELLS),
]


@pytest.mark.parametrize(("estimator", "data"), CASES, ids=lambda value: repr(value)[:50])
def test_unusual_rows_are_told_as_scikit_learn_does(estimator: Any, data: Any, tmp_path: Path) -> None:
    proved(clone(estimator).fit(data), data, tmp_path)


def test_a_forest_is_packed_and_served_by_numpy_with_all_outputs(tmp_path: Path) -> None:
    model = served(IsolationForest(**FEW).fit(GAPS), GAPS, tmp_path)
    assert model.served_by["kind"] == "numpy pipeline"
    assert [output.name for output in model.card.outputs] == ["predict", "decision_function", "score_samples"]


def test_a_score_that_is_the_offset_is_inside_unless_it_has_to_be_above() -> None:
    rows = np.array([[1.0], [2.0], [3.0]])
    for above, labels in ((True, [-1, -1, 1]), (False, [-1, 1, 1])):
        assert Inliers([], 2.0, above)(rows)["predict"].tolist() == labels


def test_a_part_that_contradicts_itself_is_refused() -> None:
    forest = compile_head(IsolationForest(**FEW).fit(CELLS))
    for check, words in (
        (lambda: forest.check(3), "outside"),
        (lambda: Inliers([], 0.0, False).check(2), "several columns"),
        (lambda: Isolation(0.0).width(1), "not above 0"),
        (lambda: Asked(forest, 2).width(CELLS.shape[1]), "several values"),
    ):
        with pytest.raises(ValueError, match=words):
            check()

"""The proof finds every kind of difference between a compiled predictor and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from model_endpoint.models.scikit_learn import SklearnPredictor
from model_endpoint.packing import proof
from model_endpoint.packing.compiling.common import NotCompilableError
from model_endpoint.packing.compiling.compiler import compile_estimator
from unit.model_endpoint.proving import proof_of

IRIS, CANCER = load_iris(), load_breast_cancer()
NAMES = IRIS.target_names[IRIS.target]

pytestmark = pytest.mark.usefixtures("fewer_rows")


class Slightly:
    """Scikit-learn's answers, off by a little: what a proof has to find."""

    def __init__(self, estimator: Any, factor: float, flipped: int = 0) -> None:
        self._predict = SklearnPredictor(estimator)
        self._factor = factor
        self._flipped = flipped

    def __call__(self, rows: Any, probabilities: bool = True) -> Any:
        outputs = self._predict(rows)
        outputs["predict_proba"] = outputs["predict_proba"] * self._factor
        outputs["predict"] = outputs["predict"].copy()
        outputs["predict"][: self._flipped] = "nothing"
        return outputs


def test_a_proof_finds_a_wrong_probability_and_a_wrong_label() -> None:
    model = LogisticRegression(max_iter=5000).fit(IRIS.data, NAMES)
    found = proof_of(model, Slightly(model, 1 + 1e-13), IRIS.data)
    assert 0 < found.largest_difference < proof.TOLERANCE
    assert not found.bit_for_bit
    with pytest.raises(NotCompilableError, match=r"predict_proba differs by 1\.0e-11 relative"):
        proof_of(model, Slightly(model, 1 + 1e-11), IRIS.data)
    with pytest.raises(NotCompilableError, match="predict differs for 1 of 30 verification rows"):
        proof_of(model, Slightly(model, 1, flipped=1), IRIS.data)


def test_a_proof_finds_a_tie_on_a_threshold_that_goes_the_wrong_way(monkeypatch: pytest.MonkeyPatch) -> None:
    forest = RandomForestClassifier(n_estimators=12, random_state=0).fit(CANCER.data, CANCER.target)
    candidate = compile_estimator(forest)
    head: Any = candidate._head
    head._threshold = np.nextafter(head._threshold, -np.inf)  # `<` where scikit-learn has `<=`
    with pytest.raises(NotCompilableError, match="edge rows"):
        proof_of(forest, candidate, CANCER.data)


class WrongAlone:
    """Scikit-learn's answers, apart from one single row: the one that comes after so many others."""

    def __init__(self, estimator: Any, after: int) -> None:
        self._predict = SklearnPredictor(estimator)
        self._left = after

    def __call__(self, rows: Any, probabilities: bool = True) -> Any:
        outputs = self._predict(rows)
        self._left -= len(rows) == 1
        if self._left < 0:
            outputs["predict"] = np.array(["nothing"])
        return outputs


def test_a_proof_finds_a_row_that_is_answered_wrong_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "ALONE_ROWS", 2)
    model = LogisticRegression(max_iter=5000).fit(IRIS.data, NAMES)
    for after in (1, proof.SINGLE_ROWS - 1):
        with pytest.raises(NotCompilableError, match="predict differs for 1 of 1 single rows"):
            proof_of(model, WrongAlone(model, after), IRIS.data)


def test_the_estimator_is_asked_for_a_row_alone_only_where_that_can_tell_more() -> None:
    asked: list[int] = []
    forest = RandomForestClassifier(n_estimators=3, random_state=0).fit(IRIS.data, NAMES)

    class Counting(SklearnPredictor):
        def __call__(self, rows: Any, probabilities: bool = True, more: Any = ()) -> Any:
            asked.append(len(rows))
            return super().__call__(rows, probabilities, more)

    comparison = proof.Comparison(Counting(forest), compile_estimator(forest), [])
    singles = [(row[np.newaxis], str(row)) for row in IRIS.data]
    comparison.add_singles(IRIS.data, singles)
    assert asked == [len(singles), *[1] * proof.ALONE_ROWS]
    assert comparison.compared == len(singles)
    assert comparison.same_bits

"""Support vector machines that compile, against scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

from model_endpoint.models.compiled.kernels import AddUp, Duels, Kernel
from model_endpoint.packing.compiling.common import NotCompilableError
from model_endpoint.packing.compiling.compiler import compile_estimator, compile_head
from unit.model_endpoint.compiled_cases import objects, proved, served, texts

pytestmark = [
    pytest.mark.usefixtures("fewer_rows"),
    # A support vector machine with probabilities is on its way out of scikit-learn.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
IRIS, DIABETES = load_iris(), load_diabetes()
NAMES = IRIS.target_names[IRIS.target]
TWO = IRIS.target > 1
LINEAR, SIGMOID = {"kernel": "linear", "C": 100.0}, {"kernel": "sigmoid", "break_ties": True}

CASES: list[tuple[Any, Any]] = [
    (SVC(), NAMES),
    (SVC(probability=True, random_state=0), NAMES),
    (make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)), TWO),
    (SVC(**LINEAR), TWO),
    (SVC(kernel="poly", degree=4, coef0=0.5, decision_function_shape="ovo"), NAMES),
    (SVC(**SIGMOID), NAMES),
    (NuSVC(), NAMES),
    (SVR(), IRIS.target),
    (make_pipeline(StandardScaler(), NuSVR(kernel="poly")), IRIS.target),
    (OneClassSVM(nu=0.2), None),
    (CalibratedClassifierCV(SVC(), cv=2, ensemble=False), NAMES),
]


@pytest.mark.parametrize(("estimator", "target"), CASES, ids=lambda value: repr(value)[:50])
def test_a_support_vector_machine_answers_as_scikit_learn_does(
    estimator: Any, target: Any, tmp_path: Path
) -> None:
    proved(clone(estimator).fit(IRIS.data, target), IRIS.data, tmp_path)


def test_sums_are_libsvm_s_own_to_the_last_bit(tmp_path: Path) -> None:
    for estimator in (SVC(), SVC(**LINEAR)):
        fitted = make_pipeline(StandardScaler(), estimator).fit(DIABETES.data, DIABETES.target > 140)
        assert proved(fitted, DIABETES.data, tmp_path).bit_for_bit


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly"])
def test_a_support_vector_machine_of_texts_answers_as_scikit_learn_does(kernel: str) -> None:
    lines, labels = texts()
    fitted = make_pipeline(TfidfVectorizer(), SVC(kernel=kernel)).fit(lines, labels)
    asked = [*lines[:9], "", "win win prize"]
    found = compile_head(fitted)(objects(asked), True, ["decision_function"])
    np.testing.assert_array_equal(found["predict"], fitted.predict(asked))
    np.testing.assert_allclose(found["decision_function"], fitted.decision_function(asked), rtol=1e-11)


def test_it_is_packed_and_served_by_numpy_with_all_outputs(tmp_path: Path) -> None:
    model = served(OneClassSVM(nu=0.2).fit(IRIS.data), IRIS.data, tmp_path)
    assert model.served_by["kind"] == "numpy pipeline"
    assert [output.name for output in model.card.outputs] == ["predict", "decision_function", "score_samples"]


def test_a_kernel_of_ones_own_has_no_rule() -> None:
    def product(left: Any, right: Any) -> Any:
        return left @ right.T

    with pytest.raises(NotCompilableError, match="the kernel 'product'"):
        compile_estimator(SVC(kernel=product).fit(IRIS.data, NAMES))


POINTS = Kernel("rbf", np.ones((3, 2)), 1.0, 0.0, 3)
SUMS = AddUp(np.ones((3, 1)), np.zeros(1))
LABELS, NONE = np.array(["a", "b"]), np.zeros(0)


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda: Kernel("exec", np.ones((3, 2)), 1.0, 0.0, 3).width(2), "unknown kernel"),
        (lambda: POINTS.width(4), "points of other columns"),
        (lambda: Kernel("poly", np.ones((3, 2)), 1.0, 0.0, 10**9).width(2), "unknown degree"),
        (lambda: SUMS.width(2), "weights of other columns"),
        (lambda: AddUp(np.ones((3, 1)), np.zeros(2)).width(3), "intercepts of other outputs"),
        (lambda: Duels([SUMS], np.arange(3), True, False, NONE, NONE).check(3), "scores of other classes"),
        (lambda: Duels([SUMS], LABELS, True, False, np.ones(2), np.ones(2)).check(3), "of other classes"),
        (lambda: Duels([SUMS], LABELS, True, True, NONE, NONE).check(3), "can't decide"),
    ],
)
def test_a_part_that_contradicts_itself_is_refused(check: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check()

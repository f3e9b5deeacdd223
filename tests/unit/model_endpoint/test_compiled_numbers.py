"""Steps and heads on numbers that compile, against scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_regressor
from sklearn.cluster import KMeans
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA, FastICA, IncrementalPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - which it needs
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Matern, WhiteKernel
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import (
    LogisticRegression,
    PassiveAggressiveClassifier,
    RANSACRegressor,
    Ridge,
    SGDClassifier,
)
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
)
from sklearn.tree import DecisionTreeRegressor

from model_endpoint.models.compiled.columns import Chain
from model_endpoint.models.compiled.heads import CategoryScores, GaussianScores, Nearest, QuadraticScores
from model_endpoint.models.compiled.imputing import ImputeInTurn, ImputeNearest
from model_endpoint.models.compiled.numeric import (
    Apply,
    Bins,
    Power,
    Products,
    Project,
    Quantiles,
    Radial,
    Splines,
)
from model_endpoint.models.compiled.tables import Sparse, dense
from model_endpoint.packing.compiling.common import NotCompilableError
from model_endpoint.packing.compiling.compiler import compile_head
from model_endpoint.packing.compiling.transformers import compile_transformer
from unit.model_endpoint.compiled_cases import proved, served

pytestmark = pytest.mark.usefixtures("fewer_rows")
IRIS = load_iris()
BEYOND = np.concatenate([IRIS.data[::7], IRIS.data[:3] * 3, IRIS.data[:3] / 9])
NONE, WHERE = np.zeros(0), np.array([0])

STEPS = [
    SelectKBest(k=2),
    VarianceThreshold(0.5),
    PCA(2, whiten=True),
    TruncatedSVD(2),
    LinearDiscriminantAnalysis(),
    Normalizer("l1"),
    Normalizer("max"),
    Binarizer(threshold=2.0),
    KBinsDiscretizer(4, encode="ordinal"),
    KBinsDiscretizer(3, encode="onehot", strategy="uniform"),
    PolynomialFeatures(3),
    PolynomialFeatures((2, 3), interaction_only=True, include_bias=False),
    PowerTransformer(),
    PowerTransformer("box-cox", standardize=False),
    QuantileTransformer(n_quantiles=30),
    QuantileTransformer(n_quantiles=30, output_distribution="normal"),
    *(SplineTransformer(4, extrapolation=one) for one in ("constant", "linear", "continue", "periodic")),
    SplineTransformer(3, degree=2, include_bias=False),
    FunctionTransformer(np.log1p),
    FunctionTransformer(np.clip, kw_args={"a_min": 1, "a_max": 4.5}),
    IncrementalPCA(2, whiten=True),
    FastICA(2, random_state=0),
    RBFSampler(n_components=9, random_state=0),
]


@pytest.mark.parametrize(
    "transformer", STEPS, ids=lambda transformer: repr(transformer).split(" at 0x")[0][:60]
)
@pytest.mark.filterwarnings("ignore")
def test_a_step_gives_its_own_numbers(transformer: Any) -> None:
    fitted = transformer.fit(IRIS.data, IRIS.target)
    expected = fitted.transform(BEYOND)
    expected = expected.toarray() if hasattr(expected, "toarray") else expected
    step = Chain(compile_transformer(fitted))
    np.testing.assert_allclose(dense(step(BEYOND)), expected, rtol=1e-12, atol=1e-12)
    assert step.width(4) == expected.shape[1]


GAPS = IRIS.data.copy()
GAPS[np.random.default_rng(0).random(GAPS.shape) < 0.15] = np.nan
LONELY = np.vstack([GAPS[:20], np.full((1, 4), np.nan)])
IMPUTERS = [
    IterativeImputer(random_state=0),
    IterativeImputer(Ridge(), max_iter=2, n_nearest_features=2, min_value=2.0, add_indicator=True),
    MissingIndicator(features="all"),
    KNNImputer(),
    KNNImputer(n_neighbors=3, weights="distance", add_indicator=True),
]


@pytest.mark.parametrize("imputer", IMPUTERS, ids=lambda imputer: repr(imputer)[:40])
@pytest.mark.filterwarnings("ignore")
def test_gaps_are_filled_by_other_columns(imputer: Any) -> None:
    fitted = imputer.fit(GAPS)
    [step] = compile_transformer(fitted)
    for rows in (GAPS, LONELY, LONELY[-1:], GAPS[3:4], IRIS.data[:3]):
        np.testing.assert_allclose(dense(step(rows)), fitted.transform(rows), rtol=1e-12)
    assert step.width(4) == fitted.transform(GAPS).shape[1]


@pytest.mark.parametrize(
    ("imputer", "words"),
    [
        (IterativeImputer(sample_posterior=True), "of samples"),
        (KNNImputer(weights=np.exp), "one's own"),
        (KNNImputer(missing_values=-9.0), "whose gaps are -9.0"),
        (IterativeImputer(DecisionTreeRegressor(), max_iter=1), "by DecisionTreeRegressor"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_imputer_without_a_rule_is_named(imputer: Any, words: str) -> None:
    with pytest.raises(NotCompilableError, match=words):
        compile_transformer(imputer.fit(GAPS if imputer.missing_values != -9 else IRIS.data))


WHOLE = np.round(IRIS.data)
HEADS = [
    (GaussianNB(), IRIS.data),
    (MultinomialNB(), IRIS.data),
    (ComplementNB(norm=True), IRIS.data),
    (make_pipeline(Binarizer(threshold=2.5), BernoulliNB()), IRIS.data),
    (BernoulliNB(binarize=2.0), IRIS.data),
    (CategoricalNB(), WHOLE),
    (KMeans(3, n_init=1, random_state=0), IRIS.data),
    (MLPClassifier(hidden_layer_sizes=(5, 3), activation="tanh", max_iter=30, random_state=0), IRIS.data),
    (MLPRegressor(hidden_layer_sizes=(4,), activation="logistic", max_iter=30, random_state=0), IRIS.data),
    (SGDClassifier("modified_huber", random_state=0), IRIS.data),
    (QuadraticDiscriminantAnalysis(), IRIS.data),
    (GaussianMixture(3, random_state=0), IRIS.data),
    (PLSRegression(2), IRIS.data),
    (RANSACRegressor(random_state=0), IRIS.data),
    (PassiveAggressiveClassifier(random_state=0), IRIS.data),
    (GaussianProcessRegressor(alpha=0.1), IRIS.data),
    (GaussianProcessRegressor(2 * RBF([1, 2, 3, 4]) + RBF(0.5) + WhiteKernel(), optimizer=None), IRIS.data),
    (make_pipeline(PCA(2), LogisticRegression()), IRIS.data),
]


@pytest.mark.parametrize(("estimator", "data"), HEADS, ids=lambda value: repr(value)[:40])
@pytest.mark.filterwarnings("ignore")
def test_a_model_is_served_by_numpy(estimator: Any, data: Any, tmp_path: Path) -> None:
    fitted = clone(estimator).fit(data, IRIS.target)
    model = served(fitted, data, tmp_path)
    assert model.served_by["kind"] in ("numpy pipeline", "numpy linear"), model.served_by
    if not is_regressor(estimator):
        assert (model.predict(data)["predict"] == fitted.predict(data)).all()


@pytest.mark.parametrize(
    ("kernel", "words"),
    [(Matern(), "kernel Matern"), (RBF() * RBF(2.0), "kernel Product"), (WhiteKernel(), "noise alone")],
)
@pytest.mark.filterwarnings("ignore")
def test_a_kernel_of_a_process_without_a_rule_is_named(kernel: Any, words: str) -> None:
    fitted = GaussianProcessRegressor(kernel, optimizer=None).fit(IRIS.data, IRIS.target)
    with pytest.raises(NotCompilableError, match=words):
        compile_head(fitted)


def test_scores_of_quadratic_discriminants_are_the_decision_function(tmp_path: Path) -> None:
    for target in (IRIS.target, IRIS.target > 1):
        fitted = QuadraticDiscriminantAnalysis().fit(IRIS.data, target)
        proved(fitted, IRIS.data, tmp_path)
    with pytest.raises(NotCompilableError, match="type 'diag'"):
        compile_head(GaussianMixture(covariance_type="diag").fit(IRIS.data))


@pytest.mark.parametrize(
    "bounds", [{"a_min": [1, 2, 3, 4], "a_max": None}, {"out": None, "a_min": 1, "x": 2}]
)
def test_bounds_that_are_no_numbers_have_no_rule(bounds: Any) -> None:
    with pytest.raises(NotCompilableError, match="two numbers"):
        compile_transformer(FunctionTransformer(np.clip, kw_args=bounds))


def test_an_old_logistic_regression_may_be_one_for_each_class() -> None:
    fitted = LogisticRegression(max_iter=500).fit(IRIS.data, IRIS.target)
    fitted.multi_class = "ovr"  # as before scikit-learn 1.8
    each = 1 / (1 + np.exp(-fitted.decision_function(IRIS.data)))
    found = compile_head(fitted)(IRIS.data)["predict_proba"]
    np.testing.assert_allclose(found, each / each.sum(axis=1, keepdims=True), rtol=1e-12)
    assert not np.allclose(found, fitted.predict_proba(IRIS.data))


def test_sparse_rows_are_what_a_matrix_is() -> None:
    matrix = np.array([[0, 2.0, 0, 1], [0, 0, 0, 0], [3, 0, -1, 0]])
    rows, columns = np.nonzero(matrix)
    sparse = Sparse(rows, columns, matrix[rows, columns], 3, 4)
    weights = np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(sparse.times(weights), matrix @ weights)
    for transformer in (Normalizer(), Normalizer("max"), Binarizer(), SelectKBest(k=2), TruncatedSVD(2)):
        step = Chain(compile_transformer(transformer.fit(np.abs(matrix) + np.eye(3, 4), [0, 1, 1])))
        np.testing.assert_allclose(dense(step(sparse)), dense(step(matrix)), atol=1e-15)


def turns(**changes: Any) -> ImputeInTurn:
    """One turn over two columns."""
    parts = {name: np.zeros(2) for name in ("fill", "low", "high")}
    more = {"columns": np.array([1]), "weights": np.ones((1, 2)), "intercepts": np.ones(1)}
    return ImputeInTurn(**{**parts, **more, "indicators": np.array([], int), **changes})


def test_a_function_of_ones_own_is_refused() -> None:
    def log1p(numbers: Any) -> Any:
        return numbers

    with pytest.raises(NotCompilableError, match="the function 'log1p'"):
        compile_transformer(FunctionTransformer(log1p))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Project(NONE, np.ones((3, 1)), np.zeros(1)), "weights of other columns"),
        (QuadraticScores(np.ones((1, 3)), [], [], np.ones(1)), "centers of other columns"),
        (
            QuadraticScores(np.ones((1, 2)), [np.ones((3, 1))], [NONE], np.ones(1)),
            "directions of other columns",
        ),
        (
            QuadraticScores(np.ones((1, 2)), [np.ones((2, 2))], [NONE], np.ones(1)),
            "offsets of other directions",
        ),
        (Radial(np.ones((3, 1))), "points of other columns"),
        (ImputeNearest(np.ones((3, 1)), 1, False, WHERE, WHERE), "rows of other columns"),
        (ImputeNearest(np.ones((3, 2)), 1, False, WHERE + 2, WHERE), "kept columns lie outside"),
        (ImputeNearest(np.full((3, 2), np.nan), 1, False, WHERE, WHERE), "without numbers"),
        (Apply("system"), "unknown function"),
        (turns(weights=np.ones((1, 3))), "weights of other columns"),
        (turns(columns=np.array([2])), "columns of turns lie outside"),
        (turns(indicators=np.array([2])), "indicators lie outside"),
        (turns(fill=np.ones(3)), "fillings of other columns"),
        (turns(intercepts=np.ones(2)), "intercepts of other turns"),
        (Bins([np.zeros(1)] * 3, True), "edges of other columns"),
        (Products([np.array([5])], [np.array([0])], np.array([0])), "columns lie outside"),
        (Products([np.array([0])], [np.array([7])], np.array([0])), "factors lie outside"),
        (Power(False, np.ones(3)), "powers of other columns"),
        (Quantiles(np.zeros((0, 2)), NONE, False), "references"),
        (Splines(np.zeros((2, 1)), np.zeros((2, 1, 0, 1)), "linear"), "without knots"),
        (GaussianScores(np.ones((2, 1)), np.ones((2, 2)), np.ones(2)), "means of other columns"),
        (CategoryScores([np.ones((2, 3))] * 2, np.ones(2)), "categories of other classes"),
    ],
)
def test_a_step_that_contradicts_itself_is_refused(step: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        step.width(2)


def test_a_head_of_other_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="centers of other columns"):
        Nearest(np.ones((2, 3))).check(4)

"""Compile a fitted estimator to numpy, and prove that the result answers as scikit-learn does.

Runs when an image is built. What has no rule here, or fails the proof, is served by scikit-learn itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.predictors import (
    CompiledPredictor,
    LinearHead,
    Outputs,
    Predictor,
    Rows,
    SklearnPredictor,
    TreesHead,
)

TOLERANCE = 1e-12  # relative
RANDOM_ROWS = 20_000
SINGLE_ROWS = 100
SEED = 20_000
EXTREMES = (0.0, -0.0, 5e-324, 1e-300, -1e-300, 1e-45, 16777217.0, 3.4e38, -3.4e38, 3.5e38, 1e300, -1e300)

# Links by class name; the class must come from scikit-learn itself, a subclass may predict otherwise.
LINEAR_VALUES = {
    *("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars"),
    *("LassoLars", "BayesianRidge", "ARDRegression", "HuberRegressor", "SGDRegressor", "TheilSenRegressor"),
    *("LinearSVR", "OrthogonalMatchingPursuit", "QuantileRegressor"),
}
LINEAR_EXPONENTIALS = {"PoissonRegressor", "GammaRegressor"}
LINEAR_LABELS = {"RidgeClassifier", "RidgeClassifierCV", "LinearSVC", "Perceptron"}
LINEAR_PROBABILITIES = {"LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis"}
FORESTS = {"RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"}
TREES = {"DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"}

Step = tuple[str, NDArray[np.float64]]


class NotCompilableError(Exception):
    """There is no rule for this estimator, or its result was not the same; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared with scikit-learn, and how far the numbers were apart.

    `largest_difference` is relative; `bit_for_bit` says that every output of every row was identical.
    """

    verification_rows: int
    random_rows: int
    edge_rows: int
    single_rows: int
    largest_difference: float
    bit_for_bit: bool


def compile_estimator(estimator: Any) -> CompiledPredictor:
    """Make the numpy form of a fitted estimator. Raises NotCompilableError when there is no rule for it."""
    steps: list[Step] = []
    if _name(estimator) == "Pipeline":
        for _, transformer in estimator.steps[:-1]:
            steps += _steps(transformer)
        estimator = estimator.steps[-1][1]
    name = _name(estimator)
    classes = _classes(estimator)
    if name in LINEAR_VALUES | LINEAR_EXPONENTIALS | LINEAR_LABELS | LINEAR_PROBABILITIES | {"SGDClassifier"}:
        weights = np.asarray(estimator.coef_, dtype=np.float64).T
        head = LinearHead(weights, np.asarray(estimator.intercept_, dtype=np.float64))
        scores = 1 if weights.ndim == 1 else weights.shape[1]
        return CompiledPredictor(steps, head, _linear_link(name, estimator, scores), classes)
    if name in FORESTS | TREES:
        members = estimator.estimators_ if name in FORESTS else [estimator]
        trees = [_Tree.of(member.tree_, _leaf_values(member, bool(classes))) for member in members]
        link = "mean" if classes else "value"
        base = np.zeros(trees[0].values.shape[1])
        return CompiledPredictor(steps, _pack(trees, base), link, classes, divisor=len(members))
    if name in {"GradientBoostingClassifier", "GradientBoostingRegressor"}:
        return _gradient_boosting(steps, estimator, classes)
    if name in {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"}:
        return _hist_gradient_boosting(steps, estimator, classes)
    raise NotCompilableError(f"there is no rule for {type(estimator).__name__}")


def prove(estimator: Any, candidate: Predictor, verification: Rows, low: Rows, high: Rows) -> Proof:
    """Compare `candidate` with the estimator on verification, random and edge rows, many at once and singly.

    `low` and `high`, of shape (features,), are the ranges of the training data. Raises NotCompilableError at
    the first difference in a label, or in a number beyond TOLERANCE.
    """
    reference = SklearnPredictor(estimator)
    generator = np.random.default_rng(SEED)
    span = np.where(high > low, high - low, 1.0)
    random = generator.uniform(low - span / 2, high + span / 2, size=(RANDOM_ROWS, len(low)))
    random[::4] = np.round(random[::4])
    edges = np.array(list(_edge_rows(estimator, random[:200], generator)))
    singles = np.concatenate([verification[: SINGLE_ROWS // 2], random[: SINGLE_ROWS // 2]])
    worst = 0.0
    same_bits = True
    batches = [("verification", verification), ("random", random), ("edge", edges)]
    batches += [("single", row[np.newaxis]) for row in singles]
    extremes = [np.where(generator.random(len(low)) < 0.5, value, random[0]) for value in EXTREMES]
    batches += [("extreme", row[np.newaxis]) for row in extremes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # overflow in extreme rows is part of the comparison
        for label, rows in batches:
            expected, got = _attempt(reference, rows), _attempt(candidate, rows)
            if expected is None or got is None:
                if expected is not got:
                    raise NotCompilableError(
                        f"only one of the two refuses a row ({label}: {rows[0].tolist()})"
                    )
                continue
            difference, identical = _compare(label, expected, got)
            worst = max(worst, difference)
            same_bits = same_bits and identical
    return Proof(len(verification), len(random), len(edges) + len(extremes), len(singles), worst, same_bits)


def _attempt(predictor: Predictor, rows: Rows) -> Outputs | None:
    """The outputs, None when they are refused."""
    try:
        return predictor(rows)
    except ValueError:
        return None


def _compare(label: str, expected: Outputs, got: Outputs) -> tuple[float, bool]:
    """The largest relative difference, and whether there is none at all. Raises NotCompilableError."""
    if list(expected) != list(got):
        raise NotCompilableError(f"its outputs are {', '.join(got)} instead of {', '.join(expected)}")
    worst = 0.0
    identical = True
    for name, right in expected.items():
        left = got[name]
        if left.shape != right.shape:
            raise NotCompilableError(f"{name} has shape {left.shape} instead of {right.shape}")
        if right.dtype.kind != "f":
            if differing := int((left != right).sum()):
                raise NotCompilableError(f"{name} differs for {differing} of {len(right)} {label} rows")
            continue
        if np.array_equal(left, right):
            continue
        identical = False
        scale = np.maximum(np.abs(right), np.finfo(np.float64).tiny)
        worst = max(worst, float((np.abs(left - right) / scale).max()))
        if worst > TOLERANCE:
            raise NotCompilableError(f"{name} differs by {worst:.1e} relative on {label} rows")
    return worst, identical


def _edge_rows(estimator: Any, rows: Rows, generator: np.random.Generator) -> Iterator[Rows]:
    """Rows on, just below and just above thresholds of the model's trees, in float64 and in float32."""
    final = estimator.steps[-1][1] if _name(estimator) == "Pipeline" else estimator
    members = np.ravel(getattr(final, "estimators_", [final])).tolist()
    trees = [member.tree_ for member in members if hasattr(member, "tree_")]
    splits = [
        (tree.feature[node], tree.threshold[node])
        for tree in trees
        for node in np.flatnonzero(tree.feature >= 0)
    ]
    for iteration in getattr(final, "_predictors", []):
        nodes = np.concatenate([tree.nodes[tree.nodes["is_leaf"] == 0] for tree in iteration])
        splits += list(zip(nodes["feature_idx"], nodes["num_threshold"], strict=True))
    for at in generator.permutation(len(splits))[:400]:
        feature, threshold = splits[at]
        narrow = np.float32(threshold)
        for value in (
            threshold,
            np.nextafter(threshold, np.inf),
            np.nextafter(threshold, -np.inf),
            narrow,
            np.nextafter(narrow, np.float32(np.inf)),
            np.nextafter(narrow, np.float32(-np.inf)),
        ):
            row = rows[at % len(rows)].copy()
            row[feature] = value
            yield row
    yield np.zeros(rows.shape[1])


def _name(estimator: Any) -> str:
    kind = type(estimator)
    return kind.__name__ if kind.__module__.startswith("sklearn.") else ""


def _classes(estimator: Any) -> list[NDArray[Any]]:
    """The labels of each output, none for a regressor; strings as numpy's own, which need no pickle."""
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return []
    groups = classes if isinstance(classes, list) else [classes]
    return [np.array(group.tolist()) for group in groups]


def _steps(transformer: Any) -> list[Step]:
    name = _name(transformer)
    if transformer in (None, "passthrough"):
        return []
    if name in {"StandardScaler", "RobustScaler"}:
        center = transformer.mean_ if name == "StandardScaler" else transformer.center_
        steps = [("subtract", center), ("divide", transformer.scale_)]
    elif name == "MinMaxScaler":
        steps = [("multiply", transformer.scale_), ("add", transformer.min_)]
        if transformer.clip:
            low, high = transformer.feature_range
            steps += [("maximum", np.array(float(low))), ("minimum", np.array(float(high)))]
    elif name == "MaxAbsScaler":
        steps = [("divide", transformer.scale_)]
    else:
        raise NotCompilableError(f"there is no rule for {type(transformer).__name__}")
    used = {"subtract": getattr(transformer, "with_mean", getattr(transformer, "with_centering", True))}
    used["divide"] = getattr(transformer, "with_std", getattr(transformer, "with_scaling", True))
    return [(step, operand) for step, operand in steps if used.get(step, True)]


def _linear_link(name: str, estimator: Any, scores: int) -> str:
    if name in LINEAR_VALUES:
        return "value"
    if name in LINEAR_EXPONENTIALS:
        return "exp"
    if name in LINEAR_LABELS or not hasattr(estimator, "predict_proba"):
        return "label"
    if scores == 1:
        return "logistic"
    return "ovr" if name == "SGDClassifier" else "softmax"


@dataclass(frozen=True, slots=True)
class _Tree:
    """One tree in its own numbering; `left` is below 0 for a leaf, `values` are (nodes, scores)."""

    left: NDArray[np.intp]
    right: NDArray[np.intp]
    feature: NDArray[np.intp]
    threshold: NDArray[np.float64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, tree: Any, values: NDArray[np.float64]) -> _Tree:
        return cls(tree.children_left, tree.children_right, tree.feature, tree.threshold, values)


def _leaf_values(member: Any, classifier: bool) -> NDArray[np.float64]:
    """A tree's values as (nodes, scores): a regressor's outputs or a classifier's probabilities."""
    values = member.tree_.value  # (nodes, outputs, most classes of an output)
    if not classifier:
        return np.asarray(values[:, :, 0])
    counts = np.atleast_1d(member.n_classes_)
    return np.concatenate([values[:, output, :count] for output, count in enumerate(counts)], axis=1)


def _pack(trees: list[_Tree], base: NDArray[np.float64], *, single_precision: bool = True) -> TreesHead:
    """Number all nodes of all trees in level order, see TreesHead."""
    order = [(tree, 0, index, 0) for index, tree in enumerate(trees)]
    feature: list[int] = []
    threshold: list[float] = []
    left: list[int] = []
    values: list[NDArray[np.float64]] = []
    depths = np.ones(len(trees), dtype=np.intp)
    for tree, node, index, level in order:  # grows while it is walked: children go to its end
        values.append(tree.values[node])
        if tree.left[node] < 0:
            feature.append(0)
            threshold.append(np.inf)
            left.append(len(left))
        else:
            feature.append(int(tree.feature[node]))
            threshold.append(float(tree.threshold[node]))
            left.append(len(order))
            order += [(tree, int(child[node]), index, level + 1) for child in (tree.left, tree.right)]
            depths[index] = max(depths[index], level + 1)
    return TreesHead(
        np.array(feature, dtype=np.intp),
        np.array(threshold),
        np.array(left, dtype=np.int32),
        np.array(values),
        np.asarray(base, dtype=np.float64),
        depths,
        single_precision,
    )


def _one_column(values: NDArray[np.float64], column: int, columns: int) -> NDArray[np.float64]:
    spread = np.zeros((len(values), columns))
    spread[:, column] = values
    return spread


def _boosted_link(columns: int, classes: list[NDArray[Any]]) -> str:
    if not classes:
        return "value"
    return "logistic" if columns == 1 else "softmax"


def _gradient_boosting(steps: list[Step], estimator: Any, classes: list[NDArray[Any]]) -> CompiledPredictor:
    if estimator.init_ != "zero" and _name(estimator.init_) not in {"DummyClassifier", "DummyRegressor"}:
        raise NotCompilableError(
            f"there is no rule for boosting that starts from {type(estimator.init_).__name__}"
        )
    base = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_)))[0]
    trees = [
        _Tree.of(
            member.tree_,
            _one_column(member.tree_.value[:, 0, 0] * estimator.learning_rate, column, len(base)),
        )
        for stage in estimator.estimators_
        for column, member in enumerate(stage)
    ]
    link = _boosted_link(len(base), classes)
    if link == "logistic" and estimator.loss != "log_loss":
        raise NotCompilableError(f"there is no rule for gradient boosting with the loss {estimator.loss!r}")
    # A score of exactly 0 is the second class here, so the threshold is the number before it.
    return CompiledPredictor(
        steps, _pack(trees, base), link, classes, threshold=float(np.nextafter(0.0, -1.0))
    )


def _hist_gradient_boosting(
    steps: list[Step], estimator: Any, classes: list[NDArray[Any]]
) -> CompiledPredictor:
    if estimator.is_categorical_ is not None:
        raise NotCompilableError("there is no rule for boosted trees with categorical features")
    base = np.ravel(estimator._baseline_prediction)
    trees = []
    for stage in estimator._predictors:
        for column, member in enumerate(stage):
            nodes = member.nodes
            left = np.where(nodes["is_leaf"] == 1, -1, nodes["left"].astype(np.intp))
            values = _one_column(nodes["value"], column, len(base))
            right = nodes["right"].astype(np.intp)
            trees.append(_Tree(left, right, nodes["feature_idx"], nodes["num_threshold"], values))
    link = _boosted_link(len(base), classes)
    if not classes and estimator.loss in {"poisson", "gamma"}:
        link = "exp"
    return CompiledPredictor(steps, _pack(trees, base, single_precision=False), link, classes)

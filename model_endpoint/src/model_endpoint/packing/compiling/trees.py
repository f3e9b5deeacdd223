"""Compile trees, forests and boosted trees. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.nodes import Answering
from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.compiled.trees import SINGLE_FINITE
from model_endpoint.packing.compiling.common import NotCompilableError, Operation, sklearn_name
from model_endpoint.packing.compiling.from_lightgbm import compile_lightgbm
from model_endpoint.packing.compiling.from_xgboost import compile_xgboost
from model_endpoint.packing.compiling.hist_boosting import compile_hist_boosting
from model_endpoint.packing.compiling.tree_packing import Tree, boosted_link, pack

FORESTS = {"RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"}
TREES = {"DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"}


def compile_trees(steps: list[Operation], estimator: Any, classes: list[NDArray[Any]]) -> Answering | None:
    """The compiled form of an estimator of trees; None if it is none. Raises NotCompilableError."""
    name = sklearn_name(estimator)
    if name in FORESTS | TREES:
        members = estimator.estimators_ if name in FORESTS else [estimator]
        trees = [
            tree_of(member.tree_, _leaf_values(member, bool(classes)), missing=True) for member in members
        ]
        link = "mean" if classes else "value"
        head = pack(trees, np.zeros(trees[0].values.shape[1]), precision=SINGLE_FINITE)
        return CompiledPredictor(steps, head, link, classes, divisor=len(members))
    if name in {"GradientBoostingClassifier", "GradientBoostingRegressor"}:
        return _gradient_boosting(steps, estimator, classes)
    if name in {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"}:
        return compile_hist_boosting(steps, estimator, classes)
    return compile_xgboost(steps, estimator, classes) or compile_lightgbm(steps, estimator, classes)


def tree_of(tree: Any, values: NDArray[np.float64], *, missing: bool = False) -> Tree:
    """One of scikit-learn's trees; `missing` says that its model takes missing values."""
    to_left = getattr(tree, "missing_go_to_left", None) if missing else None
    right = None if to_left is None else np.asarray(to_left) == 0
    return Tree(tree.children_left, tree.children_right, tree.feature, tree.threshold, values, right)


def _leaf_values(member: Any, classifier: bool) -> NDArray[np.float64]:
    """The values of a tree, of shape (nodes, scores): a regressor's outputs or a classifier's probabilities."""
    values = member.tree_.value  # of shape (nodes, outputs, classes of the output that has most)
    if not classifier:
        return np.asarray(values[:, :, 0])
    counts = np.atleast_1d(member.n_classes_)
    return np.concatenate([_shares(values[:, output, :count]) for output, count in enumerate(counts)], axis=1)


def _shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A classifier's probabilities, as which a tree has them since scikit-learn 1.4; before, it had weights of rows."""
    total = values.sum(axis=1, keepdims=True)
    if np.allclose(total, 1.0):
        return values
    total[total == 0.0] = 1.0
    return np.asarray(values / total)


def _gradient_boosting(
    steps: list[Operation], estimator: Any, classes: list[NDArray[Any]]
) -> CompiledPredictor:
    if estimator.init_ != "zero" and sklearn_name(estimator.init_) not in {
        "DummyClassifier",
        "DummyRegressor",
    }:
        raise NotCompilableError(
            f"there is no rule for boosting that starts from {type(estimator.init_).__name__}"
        )
    base = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_)))[0]
    trees = [
        tree_of(member.tree_, member.tree_.value[:, 0] * estimator.learning_rate)
        for stage in estimator.estimators_
        for member in stage
    ]
    link = boosted_link(len(base), classes)
    if link == "logistic" and estimator.loss != "log_loss":
        raise NotCompilableError(f"there is no rule for gradient boosting with the loss {estimator.loss!r}")
    # A score of 0 means the second class here, so the threshold is the largest number below 0.
    head = pack(trees, base, precision=SINGLE_FINITE)
    return CompiledPredictor(steps, head, link, classes, threshold=float(np.nextafter(0.0, -1.0)))

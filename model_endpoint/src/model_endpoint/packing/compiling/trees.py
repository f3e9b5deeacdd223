"""Compile trees, forests and boosted trees. Runs where models are packed and in the image's build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.compiled.trees import TreesHead
from model_endpoint.packing.compiling.common import NotCompilableError, Step, sklearn_name

FORESTS = {"RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"}
TREES = {"DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"}


def compile_trees(steps: list[Step], estimator: Any, classes: list[NDArray[Any]]) -> CompiledPredictor | None:
    """The compiled form of an estimator of trees; None if it is none. Raises NotCompilableError."""
    name = sklearn_name(estimator)
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
    return None


@dataclass(frozen=True, slots=True)
class _Tree:
    """One tree in its own numbering; `left` is below 0 for a leaf, `values` have the shape (nodes, scores)."""

    left: NDArray[np.intp]
    right: NDArray[np.intp]
    feature: NDArray[np.intp]
    threshold: NDArray[np.float64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, tree: Any, values: NDArray[np.float64]) -> _Tree:
        return cls(tree.children_left, tree.children_right, tree.feature, tree.threshold, values)


def _leaf_values(member: Any, classifier: bool) -> NDArray[np.float64]:
    """The values of a tree, of shape (nodes, scores): a regressor's outputs or a classifier's probabilities."""
    values = member.tree_.value  # of shape (nodes, outputs, classes of the output that has most)
    if not classifier:
        return np.asarray(values[:, :, 0])
    counts = np.atleast_1d(member.n_classes_)
    return np.concatenate([values[:, output, :count] for output, count in enumerate(counts)], axis=1)


def _pack(trees: list[_Tree], base: NDArray[np.float64], *, single_precision: bool = True) -> TreesHead:
    """Number all nodes of all trees in level order, as TreesHead needs them."""
    order = [(tree, 0, index, 0) for index, tree in enumerate(trees)]
    feature: list[int] = []
    threshold: list[float] = []
    left: list[int] = []
    values: list[NDArray[np.float64]] = []
    depths = np.ones(len(trees), dtype=np.intp)
    for tree, node, index, level in order:  # grows in the loop: children are added at its end
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
    if estimator.init_ != "zero" and sklearn_name(estimator.init_) not in {
        "DummyClassifier",
        "DummyRegressor",
    }:
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
    # A score of 0 means the second class here, so the threshold is the largest number below 0.
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

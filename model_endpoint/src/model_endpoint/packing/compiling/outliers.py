"""Compile what tells unusual rows from others. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.compiled.nodes import Head
from model_endpoint.models.compiled.numeric import Project
from model_endpoint.models.compiled.outliers import Asked, Inliers, Isolation
from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.compiled.trees import SINGLE, SINGLE_FINITE
from model_endpoint.packing.compiling.common import NO_NUMBERS, floats
from model_endpoint.packing.compiling.tree_packing import Tree, pack
from model_endpoint.packing.compiling.trees import tree_of


def isolation_forest(model: Any) -> Head:
    """The depth of a row in each tree, with what its leaf's rows would add, in place of the leaf's value."""
    trees = []
    for member, features, depths, more in zip(
        model.estimators_,
        model.estimators_features_,
        model._decision_path_lengths,
        model._average_path_length_per_tree,
        strict=True,
    ):
        values = (floats(depths) + more - 1.0)[:, np.newaxis]
        trees.append(_with_features(tree_of(member.tree_, values, missing=True), np.asarray(features)))
    head = pack(trees, np.zeros(1), precision=SINGLE if _takes_infinite(model) else SINGLE_FINITE)
    usual = len(trees) * _path_length(int(model._max_samples))
    steps = [Asked(CompiledPredictor([], head, "value"), 1), Isolation(usual)]
    return Inliers(steps, float(model.offset_), above=False)


def _takes_infinite(model: Any) -> bool:
    """Whether numbers may be too large for float32, which differs between versions: ask the model."""
    try:
        model.predict(np.full((1, model.n_features_in_), 1e39))
    except ValueError:
        return False
    return True


def _with_features(tree: Tree, features: Any) -> Tree:
    """The tree, which has got these columns alone, with the numbers of all."""
    feature = features.take(np.where(tree.left < 0, 0, tree.feature))
    return Tree(tree.left, tree.right, feature, tree.threshold, tree.values, tree.missing_right)


def _path_length(rows: int) -> float:
    """How deep a row is on average in a tree of so many rows."""
    if rows <= 2:
        return float(max(rows - 1, 0))
    return float(2.0 * (np.log(rows - 1.0) + np.euler_gamma) - 2.0 * (rows - 1.0) / rows)


def linear_one_class(model: Any) -> Head:
    step = Project(NO_NUMBERS, floats(np.reshape(model.coef_, (1, -1)).T), floats(0.0))
    return Inliers([step], float(np.ravel(model.offset_)[0]), above=False)


RULES = {"IsolationForest": isolation_forest, "SGDOneClassSVM": linear_one_class}

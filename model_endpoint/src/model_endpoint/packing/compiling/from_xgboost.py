"""Compile XGBoost's estimators. Runs where models are packed and in the image's build.

XGBoost compares and adds in float32: a row goes left if its value is below the threshold.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.compiled.tree_columns import IN_SET
from model_endpoint.models.compiled.trees import SINGLE
from model_endpoint.packing.compiling.common import NotCompilableError, Operation
from model_endpoint.packing.compiling.tree_packing import ColumnsBuilder, Tree, pack

NAMES = {"XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor"}
LOGISTIC = {"binary:logistic", "reg:logistic"}
EXPONENTIAL = {"count:poisson", "reg:gamma", "reg:tweedie"}
AS_THEY_ARE = {
    *("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror"),
    *("reg:quantileerror", "reg:linear"),
}
SOFTMAX = {"multi:softprob", "multi:softmax"}
BELOW_ALL_CODES = float(np.nextafter(0.0, -1.0))


def compile_xgboost(
    steps: list[Operation], estimator: Any, classes: list[NDArray[Any]]
) -> CompiledPredictor | None:
    """The compiled form of an estimator of XGBoost; None if it is none. Raises NotCompilableError."""
    kind = type(estimator)
    if not (kind.__module__.startswith("xgboost.") and kind.__name__ in NAMES):
        return None
    if not math.isnan(estimator.missing):
        raise NotCompilableError(
            f"there is no rule for XGBoost with {estimator.missing} as the missing value"
        )
    booster = estimator.get_booster()
    learner = json.loads(bytes(booster.save_raw(raw_format="json")))["learner"]
    boosted = learner["gradient_booster"]
    if boosted["name"] != "gbtree":
        raise NotCompilableError(f"there is no rule for XGBoost's booster {boosted['name']}")
    model = boosted["model"]
    if any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in model["trees"]):
        raise NotCompilableError("there is no rule for XGBoost's trees with several values in a leaf")
    objective = learner["objective"]["name"]
    groups = max(int(learner["learner_model_param"].get(name, 1)) for name in ("num_class", "num_target"))
    columns = ColumnsBuilder(int(learner["learner_model_param"]["num_feature"]), BELOW_ALL_CODES)
    trees = [
        _tree(model["trees"][at], columns) for at in _in_turn(model, max(groups, 1), _iterations(estimator))
    ]
    base = _base(learner, objective, max(groups, 1))
    head = pack(trees, base, precision=SINGLE, columns=columns.build())
    return CompiledPredictor(steps, head, _link(objective, classes), classes)


def _iterations(estimator: Any) -> int:
    """How many rounds the estimator predicts with, 0 for all."""
    try:
        return int(estimator.best_iteration) + 1
    except AttributeError:
        return 0


def _in_turn(model: dict[str, Any], groups: int, iterations: int) -> list[int]:
    """The numbers of the trees in use, one of each group in turn. Raises NotCompilableError."""
    info = model["tree_info"]
    if iterations:
        parallel = int(model["gbtree_model_param"].get("num_parallel_tree") or 1)
        info = info[: iterations * parallel * groups]
    of_group = [[at for at, group in enumerate(info) if group == one] for one in range(groups)]
    if not info or len({len(numbers) for numbers in of_group}) > 1:
        raise NotCompilableError(
            "there is no rule for XGBoost's trees that are not one for each class in turn"
        )
    return [at for numbers in zip(*of_group, strict=True) for at in numbers]


def _tree(tree: dict[str, Any], columns: ColumnsBuilder) -> Tree:
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    feature = np.array(tree["split_indices"], dtype=np.intp)
    split = np.array(tree["split_conditions"], dtype=np.float32)
    values = split[:, np.newaxis]
    # The number before, so that "above" means "not below".
    threshold = np.nextafter(split, np.float32(-np.inf)).astype(np.float64)
    missing_right = np.array(tree["default_left"]) == 0
    for node, begin, size in zip(
        tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
    ):
        codes = np.array(tree["categories"][begin : begin + size], dtype=np.intp)
        goes_right = np.zeros(int(codes.max(initial=-1)) + 1, dtype=bool)
        goes_right[codes] = True
        feature[node] = columns.in_set(
            int(feature[node]), IN_SET, goes_right, other=False, missing=bool(missing_right[node])
        )
        threshold[node] = 0.5
    return Tree(left, right, feature, threshold, values, missing_right)


def _base(learner: dict[str, Any], objective: str, groups: int) -> NDArray[np.float32]:
    """The scores that all rows start from."""
    given = json.loads(learner["learner_model_param"]["base_score"])
    start = np.atleast_1d(np.array(given, dtype=np.float32))
    if objective in LOGISTIC:
        start = -np.log((np.float32(1) / start - np.float32(1)).astype(np.float64))
    elif objective in EXPONENTIAL:
        start = np.log(start.astype(np.float64))
    return np.broadcast_to(start, groups).astype(np.float32)


def _link(objective: str, classes: list[NDArray[Any]]) -> str:
    links = {
        **dict.fromkeys(LOGISTIC, "boosted logistic" if classes else "expit"),
        **({} if classes else dict.fromkeys(EXPONENTIAL, "exp") | dict.fromkeys(AS_THEY_ARE, "value")),
        **(dict.fromkeys(SOFTMAX, "boosted softmax") if classes else {}),
    }
    if objective not in links:
        raise NotCompilableError(f"there is no rule for XGBoost's objective {objective}")
    return links[objective]

"""Compile CatBoost's estimators of numbers. Runs where models are packed and in the image's build.

CatBoost compares in float32 and adds in float64.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from model_endpoint.models.compiled.heads import Classify, Values
from model_endpoint.models.compiled.nodes import Head, Step
from model_endpoint.models.compiled.numeric import Apply
from model_endpoint.models.compiled.oblivious import InColumn, Oblivious
from model_endpoint.models.compiled.tables import Floats
from model_endpoint.packing.compiling.common import NotCompilableError, floats, ints, only_labels

NAMES = {"CatBoostClassifier", "CatBoostRegressor"}
LINKS = {
    **dict.fromkeys(("Logloss", "CrossEntropy"), "logistic"),
    "MultiClass": "softmax",
    "MultiClassOneVsAll": "boosted each",
}
AS_THEY_ARE = {"RMSE", "MAE", "Quantile", "MAPE", "Huber", "LogCosh", "Expectile", "Lq", "MultiRMSE"}
EXPONENTIAL = {"Poisson", "Tweedie"}
HIGH, PLAIN = "AsTrue", "FloatFeature"


def is_catboost(estimator: Any) -> bool:
    kind = type(estimator)
    return kind.__module__.startswith("catboost.") and kind.__name__ in NAMES


def compile_catboost(estimator: Any) -> Head:
    """The compiled form of an estimator of CatBoost. Raises NotCompilableError."""
    content = _content(estimator)
    step = _trees(content)
    loss = content["model_info"]["params"]["loss_function"]["type"]
    if type(estimator).__name__ == "CatBoostRegressor":
        if loss not in AS_THEY_ARE | EXPONENTIAL:
            raise NotCompilableError(f"there is no rule for CatBoost's loss {loss}")
        return Values([step, Apply("exp")] if loss in EXPONENTIAL else [step])
    if loss not in LINKS or "binclass_probability_threshold" in content["model_info"]:
        raise NotCompilableError(f"there is no rule for CatBoost's loss {loss}, or its threshold")
    head = Classify([step], LINKS[loss], only_labels(estimator))
    return head if loss in ("Logloss", "CrossEntropy") else InColumn(head)


def _content(estimator: Any) -> dict[str, Any]:
    """The model as CatBoost writes it in JSON, which it does into files alone."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        estimator.save_model(str(path), format="json")
        found: dict[str, Any] = json.loads(path.read_text())
    return found


def _trees(content: dict[str, Any]) -> Step:
    features = content["features_info"]
    if others := sorted(set(features) - {"float_features"}):
        raise NotCompilableError(f"there is no rule for CatBoost's {others[0].replace('_', ' ')}")
    if not content.get("oblivious_trees"):
        raise NotCompilableError("there is no rule for CatBoost's trees that grow node by node")
    numbered = {one["feature_index"]: one["flat_feature_index"] for one in features["float_features"]}
    high = [
        one["flat_feature_index"]
        for one in features["float_features"]
        if one.get("nan_value_treatment") == HIGH
    ]
    trees = content["oblivious_trees"]
    scale, bias = content["scale_and_bias"]
    depth = max(1, *(len(tree["splits"] or ()) for tree in trees))
    feature = np.zeros((len(trees), depth), dtype=np.int64)
    border = np.full((len(trees), depth), np.inf)  # nothing is above it
    values = np.zeros((len(trees), 1 << depth, len(bias)))
    for at, tree in enumerate(trees):
        for level, split in enumerate(tree["splits"] or ()):
            if split["split_type"] != PLAIN:
                raise NotCompilableError(f"there is no rule for CatBoost's splits by {split['split_type']}")
            feature[at, level] = numbered[split["float_feature_index"]]
            border[at, level] = split["border"]
        leaves: Floats = floats(tree["leaf_values"]).reshape(-1, len(bias))
        values[at, : len(leaves)] = leaves
    return Oblivious(ints(feature), border, values, float(scale), floats(bias), ints(high))

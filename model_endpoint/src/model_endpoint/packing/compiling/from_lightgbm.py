"""Compile LightGBM's estimators. Runs where models are packed and in the image's build.

LightGBM compares and adds in float64: a row goes left if its value is not above the threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.boosted_files import CATEGORICAL, lightgbm_parts
from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.compiled.tree_columns import IN_SET, MISSING_AS_ZERO, ZERO_LEFT, ZERO_RIGHT
from model_endpoint.models.compiled.trees import DOUBLE
from model_endpoint.models.stored import LightGbmClassifier, LightGbmRegressor
from model_endpoint.packing.compiling.common import NotCompilableError, Operation
from model_endpoint.packing.compiling.tree_packing import ColumnsBuilder, Tree, pack

NAMES = {"LGBMClassifier", "LGBMRegressor"}
VALUES = {
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape"), "value"),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
    "cross_entropy": "expit",
}
PROBABILITIES = {
    "binary": "boosted logistic",
    "multiclass": "boosted softmax",
    "multiclassova": "boosted each",
}
PLAIN = {"sigmoid:1"}
# A bit of a node's type of decision, as CATEGORICAL is; the two above have its kind of missing values.
DEFAULT_LEFT = 2
NO_MISSING, ZERO_IS_MISSING, NAN_IS_MISSING = range(3)


def compile_lightgbm(
    steps: list[Operation], estimator: Any, classes: list[NDArray[Any]]
) -> CompiledPredictor | None:
    """The compiled form of an estimator of LightGBM; None if it is none. Raises NotCompilableError."""
    kind = type(estimator)
    own = kind.__module__.startswith("lightgbm.") and kind.__name__ in NAMES
    if not own and kind not in (LightGbmRegressor, LightGbmClassifier):
        return None
    header, *sections = lightgbm_parts(estimator.booster_.model_to_string())
    if "average_output" in header:
        raise NotCompilableError("there is no rule for LightGBM's random forests")
    scores = int(header["num_tree_per_iteration"])
    if not sections or len(sections) % scores:
        raise NotCompilableError(
            "there is no rule for LightGBM's trees that are not one for each class in turn"
        )
    columns = ColumnsBuilder(int(header["max_feature_idx"]) + 1)
    trees = [_tree(section, columns) for section in sections]
    head = pack(trees, np.zeros(scores), precision=DOUBLE, columns=columns.build())
    return CompiledPredictor(steps, head, _link(header.get("objective", ""), classes), classes)


def _numbers(section: dict[str, str], name: str, dtype: type[Any] = int) -> NDArray[Any]:
    return np.array(section.get(name, "").split(), dtype=dtype)


def _tree(section: dict[str, str], columns: ColumnsBuilder) -> Tree:
    if section.get("is_linear", "0") != "0":
        raise NotCompilableError("there is no rule for LightGBM's trees with lines in their leaves")
    leaves, inner = int(section["num_leaves"]), int(section["num_leaves"]) - 1
    values = np.zeros((inner + leaves, 1))
    values[inner:, 0] = _numbers(section, "leaf_value", float)
    if inner == 0:
        none = np.array([-1])
        return Tree(none, none, np.zeros(1, dtype=np.intp), np.zeros(1), values, np.zeros(1, dtype=bool))
    # A child below 0 is the leaf of the number that its bits, turned over, make.
    children = [_numbers(section, name) for name in ("left_child", "right_child")]
    left, right = (
        np.concatenate([np.where(child < 0, inner + ~child, child), np.full(leaves, -1)])
        for child in children
    )
    feature = np.concatenate([_numbers(section, "split_feature"), np.zeros(leaves, dtype=np.intp)])
    threshold = np.concatenate([_numbers(section, "threshold", float), np.zeros(leaves)])
    missing_right = np.zeros(inner + leaves, dtype=bool)
    for node, decision in enumerate(_numbers(section, "decision_type").tolist()):
        missing, to_left = decision >> 2 & 3, bool(decision & DEFAULT_LEFT)
        if decision & CATEGORICAL:
            feature[node] = _category(section, columns, int(feature[node]), int(threshold[node]), missing)
            threshold[node] = 0.5
        elif missing == NAN_IS_MISSING:
            missing_right[node] = not to_left
        elif missing == ZERO_IS_MISSING:
            feature[node] = columns.derived(int(feature[node]), ZERO_LEFT if to_left else ZERO_RIGHT)
        else:
            feature[node] = columns.derived(int(feature[node]), MISSING_AS_ZERO)
    return Tree(left, right, feature, threshold, values, missing_right)


def _category(
    section: dict[str, str], columns: ColumnsBuilder, feature: int, number: int, missing: int
) -> int:
    """The number of the column that says whether a category goes right."""
    begin, end = _numbers(section, "cat_boundaries")[number : number + 2]
    words = _numbers(section, "cat_threshold")[begin:end].astype(np.uint32)
    codes = np.arange(32 * len(words))
    right = (words[codes // 32] >> (codes % 32).astype(np.uint32)) & 1 == 0
    missing_right = missing == NAN_IS_MISSING or bool(right[:1].all())
    return columns.in_set(feature, IN_SET, right, other=True, missing=missing_right)


def _link(objective: str, classes: list[NDArray[Any]]) -> str:
    name, *options = objective.split() or [""]
    known = PROBABILITIES if classes else VALUES
    plain = all(option in PLAIN or option.startswith(("num_class:", "alpha:", "c:")) for option in options)
    if name not in known or not plain:
        raise NotCompilableError(f"there is no rule for LightGBM's objective {objective or 'of its own'!r}")
    return known[name]

"""Compile models that ask the nearest rows of training. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.compiled.neighbours import LocalDensity, NearClasses, NearValues, Neighbours
from model_endpoint.models.compiled.nodes import Head
from model_endpoint.models.compiled.outliers import Inliers
from model_endpoint.packing.compiling.common import NotCompilableError, floats, ints, only_labels

MOST_ROWS_A_COLUMN = 300  # among more, scikit-learn's search is faster than to look at all rows
# The other ways to search lose digits, or look at rows in another order.
TREE = "kd_tree"
WEIGHTED = {"uniform": False, "distance": True, None: False}


def classes(model: Any) -> Head:
    if model.outputs_2d_:
        raise NotCompilableError(f"there is no rule for {type(model).__name__} of several outputs")
    return NearClasses(_neighbours(model), ints(model._y), only_labels(model), _weighted(model))


def values(model: Any) -> Head:
    if np.ndim(model._y) != 1:
        raise NotCompilableError(f"there is no rule for {type(model).__name__} of several outputs")
    return NearValues(_neighbours(model), floats(model._y), _weighted(model))


def local_outliers(model: Any) -> Head:
    reach = floats(model._distances_fit_X_[:, model.n_neighbors_ - 1])
    step = LocalDensity(_neighbours(model, int(model.n_neighbors_)), reach, floats(model._lrd))
    return Inliers([step], float(model.offset_), above=False)


def _weighted(model: Any) -> bool:
    if callable(model.weights):
        raise NotCompilableError("there is no rule for weights of one's own")
    return WEIGHTED[model.weights]


def _neighbours(model: Any, count: int = 0) -> Neighbours:
    rows, metric = model._fit_X, model.effective_metric_
    if metric != "euclidean" or model._fit_method != TREE:
        raise NotCompilableError(f"there is no rule for neighbours by {metric} and {model._fit_method}")
    if rows.dtype != np.float64 or len(rows) > MOST_ROWS_A_COLUMN * rows.shape[1]:
        raise NotCompilableError(
            f"there is no rule for neighbours among {len(rows)} rows of {rows.shape[1]} {rows.dtype}"
        )
    _, order, nodes, bounds = (np.asarray(part) for part in model._tree.get_arrays())
    starts, ends, leaves = (ints(nodes[name]) for name in ("idx_start", "idx_end", "is_leaf"))
    count = count or int(model.n_neighbors)
    return Neighbours(floats(rows), count, ints(order), starts, ends, leaves, floats(bounds))


RULES = {
    "KNeighborsClassifier": classes,
    "KNeighborsRegressor": values,
    "LocalOutlierFactor": local_outliers,
}

"""What all rules of the compiler need. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SEARCHES = {"GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"}
SCALERS = ("StandardScaler", "RobustScaler", "MinMaxScaler", "MaxAbsScaler")
NO_NUMBERS = np.zeros(0)
"""In place of an array that a step does without: a center, weights, the points of a curve."""
Operation = tuple[str, NDArray[np.float64]]
"""An operation on each column: its name in `model_endpoint.models.compiled.predictor.STEPS`, and the numbers."""


class NotCompilableError(Exception):
    """There is no rule for this estimator, or its compiled form answers differently; the message says why."""


def sklearn_name(estimator: Any) -> str:
    """The name of the estimator's class if it is one of scikit-learn, else empty."""
    kind = type(estimator)
    return kind.__name__ if kind.__module__.startswith("sklearn.") else ""


def stripped(estimator: Any) -> Any:
    """What predicts in a search for the best parameters; any other estimator as it is."""
    while sklearn_name(estimator) in SEARCHES and hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    return estimator


def classes_of(estimator: Any) -> list[NDArray[Any]]:
    """The labels of each output, none for a regressor; strings in numpy's own type, which needs no pickle."""
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return []
    groups = classes if isinstance(classes, list) else [classes]
    return [np.array(group.tolist()) for group in groups]


def arithmetic_of(transformer: Any) -> list[Operation]:
    """The operations of a scaler. Raises NotCompilableError for any other transformer."""
    name = sklearn_name(transformer)
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


def floats(values: Any) -> NDArray[np.float64]:
    return np.ascontiguousarray(values, dtype=np.float64) if np.ndim(values) else np.array(values, np.float64)


def ints(values: Any) -> NDArray[np.int64]:
    return np.asarray(values, dtype=np.int64)


def only_labels(model: Any) -> NDArray[Any]:
    """The labels of a classifier of one output. Raises NotCompilableError for any other."""
    classes = classes_of(model)
    if len(classes) != 1 or classes[0].ndim != 1 or classes[0].dtype.kind not in "biufU":
        raise NotCompilableError(f"there is no rule for {type(model).__name__} of several outputs")
    return classes[0]

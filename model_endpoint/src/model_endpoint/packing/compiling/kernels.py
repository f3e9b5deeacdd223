"""Compile support vector machines. Runs where models are packed and in the image's build."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import numpy as np

from model_endpoint.models.compiled.heads import Values
from model_endpoint.models.compiled.kernels import KERNELS, AddUp, Duels, Kernel
from model_endpoint.models.compiled.nodes import Head, Step
from model_endpoint.models.compiled.outliers import Inliers
from model_endpoint.models.compiled.tables import Floats
from model_endpoint.packing.compiling.common import NO_NUMBERS, NotCompilableError, floats, only_labels

MOST_NUMBERS = 1 << 22  # of support vectors, which each row is compared with


def classifier(model: Any) -> Head:
    labels = only_labels(model)
    several = len(labels) > 2
    each = model.decision_function_shape == "ovr"
    probable = hasattr(model, "predict_proba")
    return Duels(
        _scores(model, _pair_weights(model, len(labels))),
        labels,
        each,
        bool(model.break_ties) and each and several,
        floats(model._probA) if probable else NO_NUMBERS,
        floats(model._probB) if probable else NO_NUMBERS,
    )


def regressor(model: Any) -> Head:
    return Values(_scores(model, _coefficients(model).T))


def one_class(model: Any) -> Head:
    # The score that libsvm adds up; scikit-learn takes the offset from it, and then adds it again.
    steps = [_kernel(model), AddUp(floats(_coefficients(model).T), np.zeros(1))]
    return Inliers(steps, float(model.offset_[0]), True)


def _scores(model: Any, weights: Any) -> list[Step]:
    return [_kernel(model), AddUp(floats(weights), floats(model._intercept_))]


def _kernel(model: Any) -> Step:
    if model.kernel not in KERNELS:
        raise NotCompilableError(
            f"there is no rule for the kernel {getattr(model.kernel, '__name__', model.kernel)!r}"
        )
    points = _dense(model.support_vectors_)
    if points.size > MOST_NUMBERS:
        raise NotCompilableError(f"there is no rule for support vectors of {points.size} numbers")
    return Kernel(model.kernel, points, float(model._gamma), float(model.coef0), int(model.degree))


def _pair_weights(model: Any, classes: int) -> Floats:
    """The weight of each support vector's kernel in the score of each pair of classes."""
    coefficients = _coefficients(model)
    ends = np.cumsum([0, *model._n_support])
    own = [slice(start, end) for start, end in pairwise(ends)]
    weights = np.zeros((coefficients.shape[1], classes * (classes - 1) // 2))
    for at, (first, second) in enumerate(combinations(range(classes), 2)):
        weights[own[first], at] = coefficients[second - 1, own[first]]
        weights[own[second], at] = coefficients[first, own[second]]
    return weights


def _coefficients(model: Any) -> Floats:
    return _dense(model._dual_coef_)


def _dense(values: Any) -> Floats:
    """What was fitted on sparse rows is sparse."""
    return floats(values.toarray() if hasattr(values, "toarray") else values)


RULES = {
    "SVC": classifier,
    "NuSVC": classifier,
    "SVR": regressor,
    "NuSVR": regressor,
    "OneClassSVM": one_class,
}

"""Compile Gaussian processes. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.compiled.columns import Arithmetic, Chain, Union
from model_endpoint.models.compiled.heads import Values
from model_endpoint.models.compiled.nodes import Head, Step
from model_endpoint.models.compiled.numeric import Project, Radial
from model_endpoint.packing.compiling.common import NO_NUMBERS, NotCompilableError, floats, sklearn_name

Term = tuple[float, Any]
"""A factor, and the length scale of a radial kernel."""


def process(model: Any) -> Head:
    """The mean: a weighted sum of the kernels of a row and the rows of training."""
    if not hasattr(model, "X_train_"):
        raise NotCompilableError("there is no rule for a Gaussian process that is not fitted")
    alpha = floats(model.alpha_).reshape(len(model.alpha_), -1)
    kernels: list[Step] = []
    weights = []
    for factor, length in _terms(model.kernel_):
        scale = floats(length)
        kernel = Radial(floats(model.X_train_ / scale))
        scaled: list[Step] = [
            Arithmetic(["divide"], [scale]),
            kernel,
            Arithmetic(["multiply"], [floats(factor)]),
        ]
        kernels.append(Chain(scaled))
        weights.append(alpha)
    mean, spread = (
        np.broadcast_to(part, alpha.shape[1:]) for part in (model._y_train_mean, model._y_train_std)
    )
    if not kernels:
        raise NotCompilableError("there is no rule for a Gaussian process of noise alone")
    total = Project(NO_NUMBERS, np.concatenate(weights), floats(0.0))
    return Values([Union(kernels), total, Arithmetic(["multiply", "add"], [floats(spread), floats(mean)])])


def _terms(kernel: Any) -> list[Term]:
    """The radial kernels that it is the sum of. Raises NotCompilableError for any other."""
    name = sklearn_name(kernel)
    if name == "RBF":
        return [(1.0, kernel.length_scale)]
    if name == "WhiteKernel":
        return []  # noise of a row has nothing in common with another row
    if name == "Sum":
        return _terms(kernel.k1) + _terms(kernel.k2)
    if name == "Product":
        pair = sorted((kernel.k1, kernel.k2), key=lambda part: sklearn_name(part) != "ConstantKernel")
        if sklearn_name(pair[0]) == "ConstantKernel":
            return [(factor * float(pair[0].constant_value), scale) for factor, scale in _terms(pair[1])]
    raise NotCompilableError(f"there is no rule for the kernel {type(kernel).__name__} of a Gaussian process")


RULES = {"GaussianProcessRegressor": process}

"""Compile a fitted estimator to numpy. Runs in the image's build and where models are packed.

Scikit-learn itself serves an estimator that has no rule here, or whose result fails `model_endpoint.packing.proof`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.compiled.linear import LinearHead
from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.packing.compiling.common import NotCompilableError, Step, classes_of, sklearn_name
from model_endpoint.packing.compiling.trees import compile_trees

# The rules by class name. The class must be scikit-learn's own: a subclass may predict in another way.
LINEAR_VALUES = {
    *("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars"),
    *("LassoLars", "BayesianRidge", "ARDRegression", "HuberRegressor", "SGDRegressor", "TheilSenRegressor"),
    *("LinearSVR", "OrthogonalMatchingPursuit", "QuantileRegressor"),
}
LINEAR_EXPONENTIALS = {"PoissonRegressor", "GammaRegressor"}
LINEAR_LABELS = {"RidgeClassifier", "RidgeClassifierCV", "LinearSVC", "Perceptron"}
LINEAR_PROBABILITIES = {"LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis"}


def compile_estimator(estimator: Any) -> CompiledPredictor:
    """Make the numpy form of a fitted estimator. Raises NotCompilableError when there is no rule for it."""
    steps: list[Step] = []
    if sklearn_name(estimator) == "Pipeline":
        for _, transformer in estimator.steps[:-1]:
            steps += _steps(transformer)
        estimator = estimator.steps[-1][1]
    name = sklearn_name(estimator)
    classes = classes_of(estimator)
    if name in LINEAR_VALUES | LINEAR_EXPONENTIALS | LINEAR_LABELS | LINEAR_PROBABILITIES | {"SGDClassifier"}:
        weights = np.asarray(estimator.coef_, dtype=np.float64).T
        head = LinearHead(weights, np.asarray(estimator.intercept_, dtype=np.float64))
        scores = 1 if weights.ndim == 1 else weights.shape[1]
        return CompiledPredictor(steps, head, _linear_link(name, estimator, scores), classes)
    if compiled := compile_trees(steps, estimator, classes):
        return compiled
    raise NotCompilableError(f"there is no rule for {type(estimator).__name__}")


def _steps(transformer: Any) -> list[Step]:
    name = sklearn_name(transformer)
    if transformer in (None, "passthrough"):
        return []
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


def _linear_link(name: str, estimator: Any, scores: int) -> str:
    if name in LINEAR_VALUES:
        return "value"
    if name in LINEAR_EXPONENTIALS:
        return "exp"
    if name in LINEAR_LABELS or not hasattr(estimator, "predict_proba"):
        return "label"
    if scores == 1:
        return "logistic"
    return "ovr" if name == "SGDClassifier" else "softmax"

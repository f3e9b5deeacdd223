"""Compile a fitted estimator to numpy. Runs in the image's build and where models are packed.

Scikit-learn itself serves an estimator that has no rule here, or whose result fails `model_endpoint.packing.proof`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.card import Card
from model_endpoint.models.compiled.composed import ComposedPredictor, Piped
from model_endpoint.models.compiled.linear import LinearHead
from model_endpoint.models.compiled.nodes import Answering, Step
from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.contract import ARRAY, DICTS
from model_endpoint.packing.compiling import heads, kernels, meta, neighbours, outliers, processes
from model_endpoint.packing.compiling.columns import arithmetic, fused
from model_endpoint.packing.compiling.common import (
    SCALERS,
    NotCompilableError,
    Operation,
    arithmetic_of,
    classes_of,
    sklearn_name,
    stripped,
)
from model_endpoint.packing.compiling.dicts import split_dicts
from model_endpoint.packing.compiling.frame_codes import code_steps
from model_endpoint.packing.compiling.from_catboost import compile_catboost, is_catboost
from model_endpoint.packing.compiling.transformers import NONE, compile_transformer
from model_endpoint.packing.compiling.trees import compile_trees

# The rules by class name. The class must be scikit-learn's own: a subclass may predict in another way.
LINEAR_VALUES = {
    *("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars"),
    *("LassoLars", "BayesianRidge", "ARDRegression", "HuberRegressor", "SGDRegressor", "TheilSenRegressor"),
    *("LinearSVR", "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV", "QuantileRegressor"),
    *("LarsCV", "LassoLarsCV", "LassoLarsIC", "PassiveAggressiveRegressor"),
    *("MultiTaskLasso", "MultiTaskLassoCV", "MultiTaskElasticNet", "MultiTaskElasticNetCV"),
}
LINEAR_EXPONENTIALS = {"PoissonRegressor", "GammaRegressor", "TweedieRegressor"}
LINEAR_LABELS = {
    *("RidgeClassifier", "RidgeClassifierCV", "LinearSVC", "Perceptron", "PassiveAggressiveClassifier"),
}
LINEAR_PROBABILITIES = {"LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis"}
HEADS = heads.RULES | kernels.RULES | outliers.RULES | neighbours.RULES | processes.RULES
LINEAR = LINEAR_VALUES | LINEAR_EXPONENTIALS | LINEAR_LABELS | LINEAR_PROBABILITIES | {"SGDClassifier"}


def compile_estimator(estimator: Any, card: Card | None = None) -> CompiledPredictor | ComposedPredictor:
    """Make the numpy form of a fitted estimator that gets what `card` says, or an array of numbers without one.

    Raises NotCompilableError when there is no rule for it, or for what it gets.
    """
    if card is not None:
        _require_rule(card)
    dicts: list[Step] = []
    if card is not None and card.form == DICTS:
        dicts, estimator = split_dicts(stripped(estimator), card)
    head = compile_head(estimator)
    if card is not None and card.form == ARRAY and card.dtype != "float64":
        _require_own_rounding(head, card.dtype)
    if isinstance(head, CompiledPredictor) and (card is None or card.form == ARRAY):
        return head
    if steps := dicts or code_steps(estimator, card):
        head = Piped(steps, head)
    # What gets texts does not know that they are one column.
    columns = len(card.features) if card else getattr(estimator, "n_features_in_", 1)
    return ComposedPredictor(head, card, columns)


def compile_head(estimator: Any) -> Answering:
    """The compiled form of what predicts. Raises NotCompilableError."""
    estimator = stripped(estimator)
    if sklearn_name(estimator) != "Pipeline":
        return _leaf([], estimator)
    *transformers, (_, final) = estimator.steps
    transformers = [part for _, part in transformers if not isinstance(part, str | None) or part not in NONE]
    if all(sklearn_name(part) in SCALERS for part in transformers):
        simple = [step for part in transformers for step in arithmetic_of(part)]
        return _leaf(simple, final)
    return Piped(
        fused([step for part in transformers for step in compile_transformer(part)]), compile_head(final)
    )


def _leaf(steps: list[Operation], estimator: Any) -> Answering:
    name = sklearn_name(estimator)
    if name in LINEAR:
        classes = classes_of(estimator)
        weights = np.asarray(estimator.coef_, dtype=np.float64).T
        head = LinearHead(weights, np.asarray(estimator.intercept_, dtype=np.float64))
        scores = 1 if weights.ndim == 1 else weights.shape[1]
        return CompiledPredictor(steps, head, _linear_link(name, estimator, scores), classes)
    if name in HEADS | meta.RULES or is_catboost(estimator):
        if steps:
            return Piped([arithmetic(steps)], _leaf([], estimator))
        if is_catboost(estimator):
            return compile_catboost(estimator)
        return HEADS[name](estimator) if name in HEADS else meta.RULES[name](estimator, compile_head)
    if compiled := compile_trees(steps, estimator, classes_of(estimator)):
        return compiled
    raise NotCompilableError(f"there is no rule for {type(estimator).__name__}")


def _require_rule(card: Card) -> None:
    """Raise NotCompilableError for a contract that compiled forms have no rule for."""
    zoned = [
        feature.label
        for feature in card.features
        if feature.type == "datetime" and feature.read and "," in (feature.dtype or "")
    ]
    if zoned:
        raise NotCompilableError(f"there is no rule for dates with a time zone, which {zoned[0]!r} has")


def _require_own_rounding(head: Answering, dtype: str) -> None:
    """Raise NotCompilableError unless the form takes numbers of float32 as the library does: by rounding to them."""
    if not (dtype == "float32" and isinstance(head, CompiledPredictor) and head.rounds):
        raise NotCompilableError(f"there is no rule for a model that gets an array of {dtype}")


def _linear_link(name: str, estimator: Any, scores: int) -> str:
    if name in LINEAR_VALUES:
        return "value"
    if name in LINEAR_EXPONENTIALS:
        return "value" if _as_it_is(estimator) else "exp"
    if name in LINEAR_LABELS or not hasattr(estimator, "predict_proba"):
        return "label"
    if name == "SGDClassifier" and estimator.loss == "modified_huber":
        return "huber"
    if scores == 1:
        return "logistic"
    return "ovr" if name == "SGDClassifier" or _one_against_rest(estimator) else "softmax"


def _as_it_is(estimator: Any) -> bool:
    """Whether a Tweedie regression's answer is its score."""
    link = getattr(estimator, "link", "log")
    return link == "identity" or (link == "auto" and estimator.power <= 0)


def _one_against_rest(estimator: Any) -> bool:
    """Whether a logistic regression of several classes is one for each class, as it could be before 1.8."""
    way = getattr(estimator, "multi_class", None)
    return way in ("ovr", "warn") or (
        way in ("auto", "deprecated") and getattr(estimator, "solver", "") == "liblinear"
    )

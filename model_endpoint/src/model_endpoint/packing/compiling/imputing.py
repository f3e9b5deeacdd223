"""Compile imputers that ask other columns. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.compiled.columns import ImputeNumbers
from model_endpoint.models.compiled.imputing import ImputeInTurn
from model_endpoint.models.compiled.nodes import Step
from model_endpoint.packing.compiling.common import NotCompilableError, floats, ints, sklearn_name

LINES = {
    *("BayesianRidge", "LinearRegression", "Ridge", "RidgeCV", "HuberRegressor", "ElasticNet", "Lasso"),
    "ARDRegression",
}


def iterative(imputer: Any) -> Step:
    turns = imputer.imputation_sequence_
    if imputer.sample_posterior or imputer.missing_values == imputer.missing_values:
        raise NotCompilableError(
            "there is no rule for IterativeImputer of samples, or with its own marker of gaps"
        )
    if others := {
        type(turn.estimator).__name__ for turn in turns if sklearn_name(turn.estimator) not in LINES
    }:
        raise NotCompilableError(f"there is no rule for IterativeImputer by {min(others)}")
    fill = floats(imputer.initial_imputer_.statistics_)
    if np.any(getattr(imputer, "_is_empty_feature", np.isnan(fill))):
        raise NotCompilableError("there is no rule for IterativeImputer of empty columns")
    weights = np.zeros((len(turns), len(fill)))
    for at, turn in enumerate(turns):
        weights[at, turn.neighbor_feat_idx] = turn.estimator.coef_
    return ImputeInTurn(
        fill,
        ints([turn.feat_idx for turn in turns]),
        weights,
        floats([float(turn.estimator.intercept_) for turn in turns]),
        floats(np.broadcast_to(imputer._min_value, fill.shape)),
        floats(np.broadcast_to(imputer._max_value, fill.shape)),
        ints(imputer.indicator_.features_ if imputer.add_indicator else []),
    )


def indicator(transformer: Any) -> Step:
    """MissingIndicator's rule: the columns of gaps alone."""
    marker, width = transformer.missing_values, int(transformer.n_features_in_)
    if not isinstance(marker, int | float):
        raise NotCompilableError("there is no rule for MissingIndicator of values that are no numbers")
    return ImputeNumbers(float(marker), np.zeros(width), ints([]), ints(transformer.features_))


RULES = {"IterativeImputer": iterative, "MissingIndicator": indicator}

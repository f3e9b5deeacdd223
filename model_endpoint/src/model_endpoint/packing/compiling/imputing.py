"""Compile imputers that ask other columns. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.compiled.columns import ImputeNumbers
from model_endpoint.models.compiled.imputing import ImputeInTurn, ImputeNearest
from model_endpoint.models.compiled.nodes import Step
from model_endpoint.packing.compiling.common import NotCompilableError, floats, ints, sklearn_name

MOST_NUMBERS = 1 << 19  # of training, which each row with a gap is compared with
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


def nearest(imputer: Any) -> Step:
    rows = imputer._fit_X
    _require_gaps_of_numbers(imputer)
    kept = np.asarray(imputer._valid_mask)
    if imputer.metric != "nan_euclidean" or callable(imputer.weights):
        raise NotCompilableError("there is no rule for KNNImputer by a metric or weights of one's own")
    if rows.dtype != np.float64 or rows.size > MOST_NUMBERS:
        raise NotCompilableError(f"there is no rule for KNNImputer among {rows.size} numbers of {rows.dtype}")
    if imputer.keep_empty_features and not kept.all():
        raise NotCompilableError("there is no rule for KNNImputer that keeps empty columns")
    indicators = ints(imputer.indicator_.features_ if imputer.add_indicator else [])
    weighted = imputer.weights == "distance"
    return ImputeNearest(
        floats(rows), int(imputer.n_neighbors), weighted, ints(np.flatnonzero(kept)), indicators
    )


def _require_gaps_of_numbers(imputer: Any) -> None:
    """Raise NotCompilableError unless a gap is NaN."""
    marker = imputer.missing_values
    if not isinstance(marker, float) or marker == marker:
        raise NotCompilableError(f"there is no rule for {type(imputer).__name__} whose gaps are {marker!r}")


def indicator(transformer: Any) -> Step:
    """MissingIndicator's rule: the columns of gaps alone."""
    marker, width = transformer.missing_values, int(transformer.n_features_in_)
    if not isinstance(marker, int | float):
        raise NotCompilableError("there is no rule for MissingIndicator of values that are no numbers")
    return ImputeNumbers(float(marker), np.zeros(width), ints([]), ints(transformer.features_))


RULES = {"IterativeImputer": iterative, "KNNImputer": nearest, "MissingIndicator": indicator}

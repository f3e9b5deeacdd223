"""What the scores of XGBoost and LightGBM mean. Runs in the build and in a worker.

XGBoost computes in float32 with the exponential function of C, which is right to the last bit but for rare cases; in
float64, and then rounded, numpy's is as well.
"""

from __future__ import annotations

import numpy as np

from model_endpoint.models.predictor import Scores

LARGEST_EXPONENT = np.float32(88.7)  # XGBoost's own bound


def exp(scores: Scores) -> Scores:
    if scores.dtype != np.float32:
        return np.asarray(np.exp(scores))
    with np.errstate(over="ignore"):
        return np.exp(scores.astype(np.float64)).astype(np.float32)


def expit(scores: Scores) -> Scores:
    if scores.dtype == np.float32:
        power = exp(np.minimum(-scores, LARGEST_EXPONENT))
        return np.asarray(np.float32(1) / (power + np.float32(1)))
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-scores)))


def both(scores: Scores) -> Scores:
    """The probabilities of two classes."""
    second = expit(scores)
    return np.concatenate((1 - second, second), axis=1)


def softmax(scores: Scores) -> Scores:
    power = exp(scores - scores.max(axis=1, keepdims=True))
    total = np.add.accumulate(power, axis=1, dtype=np.float64)[:, -1:]  # adds one after another, as they do
    return np.asarray(power / total.astype(power.dtype))


PROBABILITIES = {"boosted logistic": both, "boosted softmax": softmax, "boosted each": expit}
"""By these links the label is that of the largest probability: two may be equal where two scores are not."""

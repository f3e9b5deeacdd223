"""Compile naive Bayes, perceptrons and clusters. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.compiled.columns import Arithmetic
from model_endpoint.models.compiled.heads import (
    CategoryScores,
    Classify,
    GaussianScores,
    Logistic,
    Mixture,
    Nearest,
    QuadraticScores,
    Values,
)
from model_endpoint.models.compiled.nodes import Head, Step
from model_endpoint.models.compiled.numeric import Above, Apply, Project
from model_endpoint.models.compiled.several import LikelyLabels
from model_endpoint.packing.compiling.common import (
    NO_NUMBERS,
    NotCompilableError,
    classes_of,
    floats,
    only_labels,
)

PLAIN = "identity"


def gaussian(model: Any) -> Head:
    step = GaussianScores(floats(model.theta_), floats(model.var_), floats(model.class_prior_))
    return Classify([step], "softmax", only_labels(model))


def multinomial(model: Any) -> Head:
    return _weighted(model, model.feature_log_prob_, model.class_log_prior_)


def complement(model: Any) -> Head:
    alone = len(model.classes_) == 1
    return _weighted(model, model.feature_log_prob_, model.class_log_prior_ if alone else np.zeros(()))


def bernoulli(model: Any) -> Head:
    absent = np.log(1 - np.exp(model.feature_log_prob_))
    head = _weighted(model, model.feature_log_prob_ - absent, model.class_log_prior_ + absent.sum(axis=1))
    if model.binarize is not None:
        head.steps.insert(0, Above(float(model.binarize)))
    return head


def categorical(model: Any) -> Head:
    parts = [floats(part.T) for part in model.feature_log_prob_]
    return Classify([CategoryScores(parts, floats(model.class_log_prior_))], "softmax", only_labels(model))


def _weighted(model: Any, weights: Any, priors: Any) -> Classify:
    return Classify([Project(NO_NUMBERS, floats(weights.T), floats(priors))], "softmax", only_labels(model))


def clusters(model: Any) -> Head:
    return Nearest(floats(model.cluster_centers_))


def perceptrons(model: Any) -> Head:
    steps: list[Step] = []
    layers = list(zip(model.coefs_, model.intercepts_, strict=True))
    for at, (weights, intercept) in enumerate(layers):
        steps.append(Project(NO_NUMBERS, floats(weights), floats(intercept)))
        if at < len(layers) - 1:
            steps += _activation(model.activation)
    if not classes_of(model):
        return Values(steps)
    if model.out_activation_ == "logistic" and model.n_outputs_ > 1:
        return LikelyLabels([*steps, Logistic()])
    return Classify(steps, model.out_activation_, only_labels(model))


def _activation(name: str) -> list[Step]:
    if name == "relu":
        return [Arithmetic(["maximum"], [floats(0.0)])]
    others: dict[str, list[Step]] = {PLAIN: [], "tanh": [Apply("tanh")], "logistic": [Logistic()]}
    return others[name]


def quadratic(model: Any) -> Head:
    pairs = list(zip(model.rotations_, model.scalings_, strict=True))
    directions = [floats(rotation * scaling**-0.5) for rotation, scaling in pairs]
    sizes = np.array([np.log(scaling).sum() for _, scaling in pairs])
    none = [floats(0.0) for _ in pairs]
    step = QuadraticScores(floats(model.means_), directions, none, np.log(model.priors_) - 0.5 * sizes)
    return Classify([step], "softmax", only_labels(model), scored=True)


def mixture(model: Any) -> Head:
    """GaussianMixture's rule: directions come from the Cholesky factors of the precisions."""
    if model.covariance_type != "full":
        raise NotCompilableError(
            f"there is no rule for a mixture of covariances of type {model.covariance_type!r}"
        )
    means, factors = floats(model.means_), [floats(factor) for factor in model.precisions_cholesky_]
    sizes = np.array([np.log(np.diagonal(factor)).sum() for factor in factors])
    base = np.log(model.weights_) + sizes - 0.5 * means.shape[1] * np.log(2 * np.pi)
    offsets = [floats(mean @ factor) for mean, factor in zip(means, factors, strict=True)]
    return Mixture([QuadraticScores(np.zeros_like(means), factors, offsets, base)])


def partial_least_squares(model: Any) -> Head:
    return Values([Project(floats(model._x_mean), floats(model.coef_.T), floats(model.intercept_))])


RULES = {
    "QuadraticDiscriminantAnalysis": quadratic,
    "GaussianMixture": mixture,
    "PLSRegression": partial_least_squares,
    "GaussianNB": gaussian,
    "MultinomialNB": multinomial,
    "ComplementNB": complement,
    "BernoulliNB": bernoulli,
    "CategoricalNB": categorical,
    "KMeans": clusters,
    "MiniBatchKMeans": clusters,
    "MLPClassifier": perceptrons,
    "MLPRegressor": perceptrons,
}

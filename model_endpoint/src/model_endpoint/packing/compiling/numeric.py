"""Compile transformers of numbers. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.compiled.columns import Arithmetic, Chain, Pick
from model_endpoint.models.compiled.nodes import Step
from model_endpoint.models.compiled.numeric import (
    FUNCTIONS,
    Above,
    Apply,
    Bins,
    Normalize,
    Power,
    Products,
    Project,
    Quantiles,
    Splines,
)
from model_endpoint.packing.compiling.columns import scaler
from model_endpoint.packing.compiling.common import NO_NUMBERS, NotCompilableError, floats, ints


def selection(selector: Any) -> Step:
    return Pick(ints(np.flatnonzero(selector.get_support())))


def pca(transformer: Any) -> Step:
    weights = transformer.components_.T
    if transformer.whiten:
        scale = np.sqrt(transformer.explained_variance_)
        scale[scale < np.finfo(scale.dtype).eps] = np.finfo(scale.dtype).eps
        steps: list[Step] = [Arithmetic(["divide"], [floats(scale)])]
    else:
        steps = []
    return Chain([Project(floats(transformer.mean_), floats(weights), floats(0.0)), *steps])


def independent(transformer: Any) -> Step:
    """FastICA's rule."""
    center = floats(transformer.mean_) if transformer.whiten else NO_NUMBERS
    return Project(center, floats(transformer.components_.T), floats(0.0))


def waves(sampler: Any) -> Step:
    """RBFSampler's rule, by which a line does what a radial kernel does."""
    size = (2.0 / sampler.n_components) ** 0.5
    project = Project(NO_NUMBERS, floats(sampler.random_weights_), floats(sampler.random_offset_))
    return Chain([project, Apply("cos"), Arithmetic(["multiply"], [floats(size)])])


def truncated_svd(transformer: Any) -> Step:
    return Project(NO_NUMBERS, floats(transformer.components_.T), floats(0.0))


def discriminant(transformer: Any) -> Step:
    """LinearDiscriminantAnalysis as a transformer."""
    if transformer.solver != "svd":
        raise NotCompilableError(f"there is no rule for the solver {transformer.solver!r} as a transformer")
    weights = transformer.scalings_[:, : transformer._max_components]
    return Project(floats(transformer.xbar_), floats(weights), floats(0.0))


def normalizer(transformer: Any) -> Step:
    return Normalize(transformer.norm)


def binarizer(transformer: Any) -> Step:
    return Above(float(transformer.threshold))


def bins(transformer: Any) -> Step:
    edges = [floats(edges[1:-1]) for edges in transformer.bin_edges_]
    return Bins(edges, transformer.encode != "ordinal")


def polynomial(transformer: Any) -> Step:
    wanted = [tuple(np.repeat(np.arange(len(row)), row).tolist()) for row in transformer.powers_]
    columns = transformer.n_features_in_
    levels: list[list[tuple[int, ...]]] = [[()], [(at,) for at in range(columns)]]
    for degree in range(2, max(map(len, wanted), default=0) + 1):
        needed = {product[-degree:] for product in wanted if len(product) >= degree}
        levels.append(sorted(needed))
    places = {product: at for at, product in enumerate(product for level in levels for product in level)}
    starts = np.cumsum([0, *map(len, levels)])
    first, rest = [], []
    for degree, level in enumerate(levels[2:], start=2):
        first.append(ints([product[0] for product in level]))
        rest.append(ints([places[product[1:]] - starts[degree - 1] for product in level]))
    return Products(first, rest, ints([places[product] for product in wanted]))


def power(transformer: Any) -> Step:
    step = Power(transformer.method == "box-cox", floats(transformer.lambdas_))
    return Chain([step, scaler(transformer._scaler)]) if transformer.standardize else step


def quantiles(transformer: Any) -> Step:
    normal = transformer.output_distribution == "normal"
    return Quantiles(floats(transformer.quantiles_), floats(transformer.references_), normal)


def splines(transformer: Any) -> Step:
    from scipy.interpolate import BSpline, PPoly

    if getattr(transformer, "handle_missing", "error") != "error":
        raise NotCompilableError("there is no rule for splines of missing values")
    knots, factors = [], []
    for spline in transformer.bsplines_:
        basis = [PPoly.from_spline(BSpline(spline.t, part, spline.k)).c for part in spline.c.T]
        pieces = slice(spline.k, len(spline.t) - spline.k - 1)
        knots.append(spline.t[spline.k : len(spline.t) - spline.k])
        factors.append(np.stack([part[:, pieces] for part in basis], axis=-1))
    step = Splines(floats(np.stack(knots)), floats(np.stack(factors)), transformer.extrapolation)
    if transformer.include_bias:
        return step
    each = step.factors.shape[3]
    kept_columns = [at for at in range(each * len(knots)) if at % each != each - 1]
    return Chain([step, Pick(ints(kept_columns))])


def function(transformer: Any) -> Step:
    if transformer.func is np.clip:
        return _clip(**(transformer.kw_args or {}))
    if transformer.kw_args:
        raise NotCompilableError("there is no rule for a function with further arguments")
    return applied(transformer.func)


def _clip(**bounds: Any) -> Step:
    """Bounds of all numbers; raises NotCompilableError for any other."""
    names = {"a_min": "maximum", "a_max": "minimum"}
    known = {name: value for name, value in bounds.items() if value is not None}
    if not known.keys() <= names.keys() or not all(
        isinstance(value, int | float) for value in known.values()
    ):
        raise NotCompilableError("there is no rule for numpy's clip with other arguments than two numbers")
    at = [name for name in names if name in known]
    return Arithmetic([names[name] for name in at], [floats(known[name]) for name in at])


def applied(call: Any) -> Step:
    """The step of a function of numpy. Raises NotCompilableError for any other."""
    name = getattr(call, "__name__", "")
    name = {"absolute": "abs"}.get(name, name)
    if name not in FUNCTIONS or FUNCTIONS[name] is not call:
        raise NotCompilableError(f"there is no rule for the function {name or call!r}")
    return Apply(name)


RULES = {
    **dict.fromkeys(("SelectKBest", "SelectPercentile", "SelectFpr", "SelectFdr", "SelectFwe"), selection),
    **dict.fromkeys(("GenericUnivariateSelect", "VarianceThreshold", "SelectFromModel"), selection),
    **dict.fromkeys(("RFE", "RFECV", "SequentialFeatureSelector"), selection),
    "PCA": pca,
    "IncrementalPCA": pca,
    "FastICA": independent,
    "RBFSampler": waves,
    "TruncatedSVD": truncated_svd,
    "LinearDiscriminantAnalysis": discriminant,
    "Normalizer": normalizer,
    "Binarizer": binarizer,
    "KBinsDiscretizer": bins,
    "PolynomialFeatures": polynomial,
    "PowerTransformer": power,
    "QuantileTransformer": quantiles,
    "SplineTransformer": splines,
    "FunctionTransformer": function,
}

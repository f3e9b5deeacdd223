"""Compile scikit-learn's histogram boosting. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.columns import Chain, Pick, Union
from model_endpoint.models.compiled.composed import Piped
from model_endpoint.models.compiled.nodes import Answering, Step
from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.compiled.tree_columns import IN_SET
from model_endpoint.models.compiled.trees import DOUBLE
from model_endpoint.packing.compiling.columns import ordinal
from model_endpoint.packing.compiling.common import NotCompilableError, Operation, ints
from model_endpoint.packing.compiling.tree_packing import ColumnsBuilder, Tree, boosted_link, pack

CODES = np.arange(256)  # of a category, as scikit-learn numbers them


def compile_hist_boosting(steps: list[Operation], estimator: Any, classes: list[NDArray[Any]]) -> Answering:
    """The compiled form, with missing values and with categories. Raises NotCompilableError."""
    coded = _encoded_columns(estimator)
    base = np.ravel(estimator._baseline_prediction).astype(np.float64)
    columns = ColumnsBuilder(estimator.n_features_in_)
    original = np.arange(estimator.n_features_in_) if coded else _code_categories(estimator, columns)
    known = _known_codes(estimator)
    trees = [_tree(member, original, columns, known) for stage in estimator._predictors for member in stage]
    link = boosted_link(len(base), classes)
    if not classes and estimator.loss in {"poisson", "gamma"}:
        link = "exp"
    if not trees:
        raise NotCompilableError("the model has no trees")
    head = pack(trees, base, precision=DOUBLE, columns=columns.build())
    if coded:
        return Piped(coded, CompiledPredictor([], head, link, classes))
    return CompiledPredictor(steps, head, link, classes)


def _encoded_columns(estimator: Any) -> list[Step]:
    """What makes numbers of categories that are none: codes, before the other columns, as the model has them."""
    preprocessor = getattr(estimator, "_preprocessor", None)
    if preprocessor is None:
        return []
    encoder, chosen = (
        preprocessor.named_transformers_["encoder"],
        np.asarray(preprocessor.transformers_[0][2]),
    )
    if all(known.dtype.kind in "fiub" for known in encoder.categories_):
        return []
    codes: Step = Chain([Pick(ints(np.flatnonzero(chosen))), ordinal(encoder)])
    others = ints(np.flatnonzero(~chosen))
    return [Union([codes, Pick(others)])] if len(others) else [codes]


def _code_categories(estimator: Any, columns: ColumnsBuilder) -> NDArray[np.intp]:
    """Have categories that are numbers coded; returns the input's column for each column that the trees get."""
    width = estimator.n_features_in_
    preprocessor = getattr(estimator, "_preprocessor", None)
    if estimator.is_categorical_ is None:
        return np.arange(width)
    if preprocessor is None:  # before scikit-learn 1.4 a category was its own code
        return np.arange(width)
    at = np.flatnonzero(preprocessor.transformers_[0][2])
    for column, known in zip(at, preprocessor.named_transformers_["encoder"].categories_, strict=True):
        values = known.astype(np.float64)
        present = ~np.isnan(values)
        columns.coded(int(column), values[present], np.arange(len(values))[present].astype(np.float64))
    return np.concatenate([at, np.flatnonzero(~np.asarray(preprocessor.transformers_[0][2], dtype=bool))])


def _known_codes(estimator: Any) -> dict[int, NDArray[np.bool_]]:
    """The codes that training had in each column of categories, where no encoder leaves out the others before."""
    if estimator.is_categorical_ is None or getattr(estimator, "_preprocessor", None) is not None:
        return {}
    thresholds = estimator._bin_mapper.bin_thresholds_
    return {
        int(column): np.isin(CODES, np.asarray(thresholds[column]))
        for column in np.flatnonzero(estimator.is_categorical_)
    }


def _tree(
    member: Any, original: NDArray[np.intp], columns: ColumnsBuilder, known: dict[int, NDArray[np.bool_]]
) -> Tree:
    nodes = member.nodes
    leaf = nodes["is_leaf"] == 1
    feature = original.take(np.where(leaf, 0, nodes["feature_idx"]))
    threshold = nodes["num_threshold"].copy()
    missing_right = nodes["missing_go_to_left"] == 0
    for node in np.flatnonzero(~leaf & (nodes["is_categorical"] == 1)):
        bits = member.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        right = (bits[CODES // 32] >> (CODES % 32).astype(np.uint32)) & 1 == 0
        missing = bool(missing_right[node])
        if known:
            right = np.where(known[int(feature[node])], right, missing)
        # What training did not have goes where missing values go.
        feature[node] = columns.in_set(int(feature[node]), IN_SET, right, missing, missing)
        threshold[node] = 0.5
    left = np.where(leaf, -1, nodes["left"].astype(np.intp))
    return Tree(
        left, nodes["right"].astype(np.intp), feature, threshold, nodes["value"][:, np.newaxis], missing_right
    )

"""Compile the vectorizer of a model that gets dicts. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.card import Card
from model_endpoint.models.compiled.dicts import OfDicts
from model_endpoint.models.compiled.nodes import Step
from model_endpoint.packing.compiling.common import NotCompilableError, sklearn_name


def split_dicts(estimator: Any, card: Card) -> tuple[list[Step], Any]:
    """What makes columns of dicts, and what comes after it. Raises NotCompilableError."""
    first: Any = estimator.steps[0][1] if sklearn_name(estimator) == "Pipeline" else None
    if sklearn_name(first) != "DictVectorizer":
        raise NotCompilableError(
            "there is no rule for a model that gets dicts without a DictVectorizer first"
        )
    if first.dtype is not np.float64:
        raise NotCompilableError("there is no rule for a vectorizer in single precision")
    keys = [feature.name for feature in card.features]
    step = OfDicts(keys, list(first.feature_names_), first.separator, bool(first.sparse))
    return [step], estimator[1:]

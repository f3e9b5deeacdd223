"""The codes of categories, which XGBoost and LightGBM take from a data frame.

Runs where models are packed and in the image's build.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.card import Card
from model_endpoint.models.compiled.columns import Chain, Encode, Pick, Union
from model_endpoint.models.compiled.nodes import Step
from model_endpoint.models.contract import FRAME, Feature
from model_endpoint.packing.compiling.columns import plain
from model_endpoint.packing.compiling.common import floats, ints

LIBRARIES = ("xgboost", "lightgbm")


def code_steps(estimator: Any, card: Card | None) -> list[Step]:
    """The steps before an estimator that gets a data frame whose categories it takes by their codes."""
    library = type(estimator).__module__.split(".")[0]
    booster = library in LIBRARIES or hasattr(estimator, "booster_")
    if not booster or card is None or card.form != FRAME:
        return []
    if not any(feature.type == "category" for feature in card.features):
        return []
    return [Union([_column(at, feature) for at, feature in enumerate(card.features)])]


def _column(at: int, feature: Feature) -> Step:
    steps: list[Step] = [Pick(ints([at]))]
    if feature.type == "category":
        categories = [plain(value) for value in feature.categories or []]
        # A gap has no code, nor has what is none of them.
        codes = floats([*range(len(categories)), np.nan])
        steps.append(Encode([categories], [codes[:, np.newaxis]], [False]))
    return Chain(steps)

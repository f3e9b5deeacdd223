"""The card of a model, which is the content of model.yml. Runs in the build, in a worker and beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

METADATA_FILE = "model.json"
"""What the image's build writes for a model: its card, and a description of its predictor."""

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the input; `minimum` and `maximum` are the range of the training data."""

    name: str
    type: str
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Output:
    """One output tensor: an Open Inference Protocol datatype, and a shape whose -1 is the rows' axis."""

    name: str
    datatype: str
    shape: list[int]


@dataclass(frozen=True, slots=True)
class Card:
    """What a model says about itself; `classes` are a classifier's labels in the order of its probabilities.

    `allowed_types` are the types in its file that must be trusted by name, and `code` is its own code, with SHA-256 by
    name. Both only describe it: what is trusted is not for the model to say.
    """

    name: str
    version: str
    description: str
    features: list[Feature]
    outputs: list[Output]
    classes: list[Any] | None
    training_data_sha256: str
    metrics: dict[str, float]
    libraries: dict[str, str]
    model_sha256: str
    allowed_types: list[str] = field(default_factory=list)
    code: dict[str, str] = field(default_factory=dict)

    @property
    def input_datatype(self) -> str:
        """The datatype of the input tensor, in the protocol's words."""
        return "FP64"

    @property
    def input_dtype(self) -> np.dtype[np.float64]:
        """The same datatype, in numpy's words."""
        return np.dtype(np.float64)

    @classmethod
    def from_values(cls, values: Any) -> Card:
        """Make a card of a parsed file.

        Raises ValueError, KeyError or TypeError when a field is missing, unknown or of the wrong type.
        """
        if not isinstance(values, dict):
            raise ValueError("the file must hold a mapping")
        features = [Feature(**feature) for feature in values["features"]]
        outputs = [Output(**output) for output in values["outputs"]]
        card = cls(**{**values, "features": features, "outputs": outputs})
        if not NAME.fullmatch(str(card.name)):
            raise ValueError(
                f"name is {card.name!r}; use a-z, 0-9, '_', '.' and '-', at most 63 characters, "
                "the first a letter or a digit"
            )
        if not (isinstance(card.version, str) and VERSION.fullmatch(card.version)):
            raise ValueError(
                f"version is {card.version!r}; give a quoted string of letters, digits, '_', '.' and '-'"
            )
        if not features or not outputs:
            raise ValueError("features or outputs are empty; pack the model again with flotilla-model pack")
        return card

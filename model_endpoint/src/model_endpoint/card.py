"""What a model says about itself, and the answers it must give."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from model_endpoint.errors import BundleError
from model_endpoint.predictors import Outputs

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
GOLDEN_TOLERANCE = 1e-9  # relative: another processor's arithmetic may differ in the last bits


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the input; `minimum` and `maximum` are what the training data spanned."""

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
    """The content of model.yml; `classes` are a classifier's labels in the order of its probabilities."""

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

    @classmethod
    def from_values(cls, values: Any) -> Card:
        """Make a card of a parsed file.

        Raises ValueError, KeyError or TypeError when a field is missing, unknown or of another kind.
        """
        if not isinstance(values, dict):
            raise ValueError("it holds no mapping")
        features = [Feature(**feature) for feature in values["features"]]
        outputs = [Output(**output) for output in values["outputs"]]
        card = cls(**{**values, "features": features, "outputs": outputs})
        if not NAME.fullmatch(str(card.name)):
            raise ValueError(f"name {card.name!r} is not made of a-z, 0-9, '_', '.' and '-'")
        if not (isinstance(card.version, str) and VERSION.fullmatch(card.version)):
            raise ValueError(
                f"version {card.version!r} is no quoted string of letters, digits, '_', '.', '-'"
            )
        if not features or not outputs:
            raise ValueError("features or outputs are empty")
        return card


def check_golden(answers: Outputs, expected: dict[str, Any], where: str) -> None:
    """Raise BundleError unless labels are equal to the expected and numbers within GOLDEN_TOLERANCE."""
    for name, values in expected.items():
        if name not in answers or not _same(answers[name].tolist(), values):
            got = answers[name].tolist() if name in answers else "nothing"
            raise BundleError(f"{where}: {name} is {got}, expected {values}")


def _same(got: Any, expected: Any) -> bool:
    if isinstance(expected, list):
        return isinstance(got, list) and len(got) == len(expected) and all(map(_same, got, expected))
    if isinstance(expected, float):
        return isinstance(got, float) and math.isclose(
            got, expected, rel_tol=GOLDEN_TOLERANCE, abs_tol=1e-300
        )
    return bool(got == expected)

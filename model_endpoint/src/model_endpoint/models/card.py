"""The card of a model, which is the content of model.yml. Runs in the build, in a worker and beside it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, TypedDict

import numpy as np

from model_endpoint.models.contract import ARRAY, FORMS, Feature

METADATA_FILE = "model.json"
"""What the image's build writes for a model: its card, and a description of its predictor."""

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
PREDICT, PROBABILITIES, TRANSFORM = "predict", "predict_proba", "transform"
FURTHER = ("decision_function", "score_samples", TRANSFORM)
"""Outputs that an answer has only if the request asks for them."""


@dataclass(frozen=True, slots=True)
class Output:
    """One output tensor: an Open Inference Protocol datatype, and a shape whose -1 is the rows' axis."""

    name: str
    datatype: str
    shape: list[int]


class ServedBy(TypedDict, total=False):
    """What serves a model: its kind, and by what proof it is the compiled form, or why there is none."""

    kind: str
    proof: dict[str, float]
    not_compiled: str


@dataclass(frozen=True, slots=True)
class Card:
    """What a model says about itself; `classes` are a classifier's labels in the order of its probabilities.

    `form` is what the estimator gets: an array of `dtype`, a data frame, a list of texts or a list of dicts.
    `depends_on_company` says that an answer depends on the other rows of its call.
    `allowed_types` are the types in its file that must be trusted by name, and `code` is its own code, with SHA-256 by
    name. Both only describe it: what is trusted is not for the model to say. `stored_as` is the estimator's class where
    its file has the format of another library than scikit-learn. `predictor` says what serves the model, as found when
    it was packed, and `predictor_sha256` is of the file of its compiled form; cards of earlier versions have neither.
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
    form: str = ARRAY
    dtype: str = "float64"
    depends_on_company: bool = False
    code: dict[str, str] = field(default_factory=dict)
    stored_as: str | None = None
    predictor: ServedBy = field(default_factory=ServedBy)
    predictor_sha256: str | None = None

    @property
    def compiled(self) -> bool:
        """Whether the bundle has the compiled form, which then serves: the estimator is not read again."""
        return self.predictor_sha256 is not None

    @property
    def types_to_trust(self) -> list[str]:
        """The types that whoever serves the model must trust by name."""
        return [] if self.compiled else self.allowed_types

    @property
    def input_datatype(self) -> str:
        """The datatype of the input tensor of a model of numbers, in the protocol's words."""
        return "FP32" if self.dtype == "float32" else "FP64"

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """The type of an array that the estimator gets, in numpy's words."""
        return np.dtype(self.dtype)

    @property
    def plain(self) -> bool:
        """Whether every row of finite numbers is right, and the estimator gets them as an array of float64."""
        return self.form == ARRAY and self.dtype == "float64" and all(item.plain for item in self.features)

    @property
    def numeric(self) -> bool:
        """Whether the protocol's input is one tensor of numbers."""
        kinds = {item.type for item in self.features}
        return self.form == ARRAY and self.dtype != "object" and kinds <= {"number", "integer", "boolean"}

    @property
    def single_precision(self) -> set[str]:
        """The outputs whose numbers are of single precision."""
        return {output.name for output in self.outputs if output.datatype == "FP32"}

    def values(self) -> dict[str, Any]:
        """The card as plain values, without the fields that say nothing."""
        values = asdict(self) | {"features": [item.values() for item in self.features]}
        defaults = {
            "code": {},
            "form": ARRAY,
            "dtype": "float64",
            "depends_on_company": False,
            "stored_as": None,
            "predictor": {},
            "predictor_sha256": None,
        }
        return {name: value for name, value in values.items() if value != defaults.get(name, ...)}

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
        if card.form not in FORMS:
            raise ValueError(f"form is {card.form!r}; it must be one of {', '.join(FORMS)}")
        if not isinstance(card.predictor, dict) or not isinstance(card.predictor_sha256, str | None):
            raise ValueError("predictor must be a mapping, and predictor_sha256 a string")
        names = [feature.name for feature in features]
        if len(set(names)) < len(names):
            repeated = next(name for at, name in enumerate(names) if name in names[:at])
            raise ValueError(f"two columns have the name {repeated!r}; give each a name of its own")
        return card

"""What the page at /docs makes its form of: the contract of each model, with an example. Runs in a worker.

A value is text as JSON has it (`1.50`, `"Biscoe"`, `null`), since JavaScript's numbers would lose digits.
"""

from __future__ import annotations

from typing import Any, TypedDict

import orjson

from model_endpoint.models.card import PROBABILITIES
from model_endpoint.models.contract import NOT_TAKEN, Feature
from model_endpoint.models.model import Model, Models
from model_endpoint.runtime.settings import Settings

MOST_CHOICES = 200  # of a list; a longer one is for typing


class Field(TypedDict):
    """A column as a field of the form.

    `kind` is number, integer, boolean, datetime or text. `open` says that values besides the `choices` are taken, and
    `zoned` that a date has an offset.
    """

    name: str
    kind: str
    choices: list[str]
    open: bool
    missing: bool
    zoned: bool
    example: str
    hint: str


class Form(TypedDict):
    """A model as a form. `named` is false for a model whose rows are plain values."""

    name: str
    version: str
    description: str
    named: bool
    fields: list[Field]
    probabilities: bool
    classes: list[Any]


class Page(TypedDict):
    release: str
    endpoint: str
    models: list[Form]


def page(models: Models, settings: Settings) -> Page:
    """The forms of all models, in the order in which they are served."""
    return {
        "release": settings.release,
        "endpoint": settings.endpoint,
        "models": [_form(model) for model in models.values()],
    }


def _form(model: Model) -> Form:
    card = model.card
    return {
        "name": card.name,
        "version": card.version,
        "description": card.description,
        "named": bool(card.features[0].name),
        "fields": [_field(feature, value) for feature, value in _example(model)],
        "probabilities": PROBABILITIES in model.outputs,
        "classes": [_texts(label) for label in card.classes or []],
    }


def _example(model: Model) -> list[tuple[Feature, Any]]:
    """Each column with its value in the first golden request."""
    row, features = model.golden[0]["rows"][0], model.card.features
    if isinstance(row, dict):
        return [(feature, row.get(feature.name)) for feature in features]
    return list(zip(features, row if isinstance(row, list) else [row], strict=True))


def _field(feature: Feature, example: Any) -> Field:
    categories = feature.categories or []
    listed = len(categories) <= MOST_CHOICES
    return {
        "name": feature.name,
        "kind": _kind(feature),
        "choices": [_json(value) for value in categories] if listed else [],
        "open": not listed or feature.unknown != NOT_TAKEN,
        "missing": feature.missing,
        "zoned": feature.type == "datetime" and "," in (feature.dtype or ""),
        "example": _json(example),
        "hint": _hint(feature),
    }


def _kind(feature: Feature) -> str:
    if feature.type == "category":
        kinds = {type(value) for value in feature.categories or []}
        return "number" if kinds and kinds <= {int, float} else "boolean" if kinds == {bool} else "text"
    return {"string": "text"}.get(feature.takes, feature.takes)


def _hint(feature: Feature) -> str:
    """What training had, in words."""
    words = []
    if feature.minimum is not None and feature.categories is None:
        words.append(f"{feature.minimum} to {feature.maximum} in training")
    if feature.categories is not None and feature.unknown not in (None, NOT_TAKEN):
        words.append(f"any other value is {feature.unknown}")
    if not feature.read:
        words.append("the model does not read it")
    return "; ".join(words)


def _texts(label: Any) -> Any:
    """A class as text, or those of one output of several."""
    if isinstance(label, list):
        return [_texts(one) for one in label]
    return label if isinstance(label, str) else _json(label)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()

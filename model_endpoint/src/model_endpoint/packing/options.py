"""What the user says of a model that is packed. Runs where models are packed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Required, TypedDict


class Options(TypedDict, total=False):
    """What the user says of a model.

    `types` are the types of columns that the data has otherwise. `order` confirms the data's order of columns where the
    model knows no names, `depends_on_company` that an answer may depend on the other rows of its request. Without
    `drift` the bundle does not say how its data spreads, and endpoints measure no drift of this model.
    """

    name: Required[str]
    version: Required[str]
    description: str
    metrics: Mapping[str, float]
    types: Mapping[str, str]
    order: bool
    depends_on_company: bool
    drift: bool


def about_of(options: Options) -> dict[str, Any]:
    """The fields of the card that the user gives."""
    return {
        "name": options["name"],
        "version": options["version"],
        "description": options.get("description", ""),
        "metrics": dict(options.get("metrics", {})),
    }

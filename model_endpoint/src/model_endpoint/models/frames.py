"""Make of columns what an estimator was fitted on: a data frame, texts or dicts. Runs in the build and in a worker.

Only this imports pandas, and only for a model that gets a data frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.card import Card
from model_endpoint.models.contract import DICTS, FRAME, TEXTS, Columns, Feature

Make = Callable[[Columns], Any]


def maker(card: Card) -> Make:
    """What makes the estimator's own input of columns; raises ImportError where pandas is needed and not there."""
    return {FRAME: _frames, TEXTS: _texts, DICTS: _dicts}[card.form](card)


def _texts(card: Card) -> Make:  # noqa: ARG001 - the interface of a maker
    return lambda columns: columns.arrays[0].tolist()


def _dicts(card: Card) -> Make:
    names = [feature.name for feature in card.features]

    def make(columns: Columns) -> list[dict[str, Any]]:
        lists = [array.tolist() for array in columns.arrays]
        return [
            {
                name: value
                for name, value in zip(names, row, strict=True)
                if value is not None and value == value
            }
            for row in zip(*lists, strict=True)
        ]

    return make


def _frames(card: Card) -> Make:
    import pandas

    makers = {feature.name: _series(feature) for feature in card.features}

    def make(columns: Columns) -> Any:
        pairs = zip(makers.items(), columns.arrays, strict=True)
        return pandas.DataFrame({name: series(array) for (name, series), array in pairs}, copy=False)

    return make


def _series(feature: Feature) -> Callable[[NDArray[Any]], Any]:
    """What makes one column of a frame, in the type that the estimator was fitted on."""
    import pandas

    name = feature.dtype or "float64"
    if name == "category":
        kinds = pandas.CategoricalDtype(
            pandas.Index(feature.categories or [], dtype=feature.categories_dtype), ordered=feature.ordered
        )
        index = {value: at for at, value in enumerate(feature.categories or [])}
        return lambda array: pandas.Categorical.from_codes(
            [index.get(value, -1) for value in array], dtype=kinds
        )
    if name == "object":
        return _objects(feature)
    if name.startswith("datetime64"):
        zone = name.removesuffix("]").partition(", ")[2]
        if zone:
            return lambda array: pandas.Series(array).dt.tz_localize("UTC").dt.tz_convert(zone)
        return lambda array: array
    dtype = pandas.api.types.pandas_dtype(name)
    if isinstance(dtype, np.dtype):
        return lambda array: array.astype(dtype, copy=False)
    return lambda array: pandas.array(array, dtype=dtype)


def _objects(feature: Feature) -> Callable[[NDArray[Any]], Any]:
    """An array of objects; a missing value is None where training had None, else NaN."""

    def make(array: NDArray[Any]) -> NDArray[Any]:
        filled = np.empty(len(array), dtype=object)
        gap = None if feature.missing_as == "None" else np.nan
        filled[:] = [gap if value is None or value != value else value for value in array.tolist()]
        return filled

    return make

"""Describe the columns of the training data: the contract as the data has it. Runs where models are packed."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.contract import ARRAY, DICTS, TEXTS, Feature
from model_endpoint.models.errors import BundleError
from model_endpoint.packing.knowledge import Knowledge, parts_of_input
from model_endpoint.packing.training_data import TrainingData

KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def describe(data: TrainingData, form: str, knowledge: Knowledge) -> list[Feature]:
    """The contract's columns, of the data's types and what the estimator knows.

    Raises BundleError where the two disagree, or for a column that no request can have.
    """
    return [_feature(data, at, form, knowledge) for at in range(data.width)]


def require_agreement(data: TrainingData, knowledge: Knowledge) -> None:
    """Raise BundleError for a column whose values are of another type than the categories that the estimator knows."""
    for at, known in knowledge.categories.items():
        if not data.is_frame or not known:
            continue
        name = data.names[at]
        kind = _type(data.column(at), data.missing(at), name)[0]
        if kind not in ("category", "datetime"):
            _require_agreement(name, kind, known)


def with_objects(data: TrainingData, knowledge: Knowledge) -> TrainingData:
    """The data with objects in place of numbers in the columns whose categories are objects."""
    for at in sorted(knowledge.objects):
        if data.is_frame and getattr(data.column(at).dtype, "kind", "O") in "biuf":
            data = data.with_type(at, object)
    return data


def with_categories(data: TrainingData, estimator: Any) -> TrainingData:
    """The data with categories in the columns in which XGBoost has them and knows their values itself.

    Some files of tables, such as parquet for whole numbers, lose pandas' type of a category.
    """
    for part in parts_of_input(estimator):
        if not data.is_frame or type(part).__module__.split(".")[0] != "xgboost":
            continue
        booster = part.get_booster()
        kinds = booster.feature_types or []
        if not hasattr(booster, "get_categories") or len(kinds) != data.width:
            continue  # an older one knows codes alone
        for at, kind in enumerate(kinds):
            if kind == "c" and str(data.column(at).dtype) != "category":
                data = data.with_type(at, "category")
    return data


def _feature(data: TrainingData, at: int, form: str, knowledge: Knowledge) -> Feature:
    name = "" if form == TEXTS else data.names[at]
    column, gaps = data.column(at), data.missing(at)
    kind, dtype = _type(column, gaps, name)
    more: dict[str, Any] = {}
    if kind == "category":
        more |= _categories(column, name)
    elif (known := knowledge.categories.get(at)) and kind != "datetime":
        more["categories"] = [_plain(value, kind) for value in known]
    if kind == "number" and form == ARRAY and data.is_frame and dtype == "float64":
        more.pop("categories", None)  # a float is no category that a client could choose
    if kind == "integer" and form == ARRAY and ARRAY in data.forms and "categories" not in more:
        # An estimator without names was fitted on an array, which has one type.
        kind, dtype = "number", "float64"
    if kind in ("number", "integer", "datetime") and not gaps.all():
        values = column[~gaps]
        more |= {"minimum": _bound(values.min()), "maximum": _bound(values.max())}
    if dtype == "object" and gaps.any() and any(value is None for value in column[gaps]):
        more["missing_as"] = "None"
    return Feature(
        name,
        kind,
        dtype=None if dtype == "float64" else dtype,
        missing=bool(gaps.any()) or form == DICTS,
        read=at in knowledge.read,
        **more,
    )


def _type(column: Any, gaps: Any, name: str) -> tuple[str, str]:
    """The contract's type of a column, and its own."""
    dtype = str(column.dtype)
    numpy_kind = getattr(column.dtype, "kind", "O")
    if dtype == "category":
        return "category", dtype
    if dtype.startswith("datetime64"):
        return "datetime", dtype
    if dtype in ("bool", "boolean"):
        return "boolean", dtype
    if dtype.startswith(("str", "<U")):
        return "string", dtype
    if dtype == "object":
        kinds = {type(value.item() if isinstance(value, np.generic) else value) for value in column[~gaps]}
        if kinds == {int, float}:
            return "number", dtype
        if len(kinds) == 1 and (kind := KINDS.get(next(iter(kinds)))):
            return kind, dtype
        if not kinds:
            raise BundleError(
                f"the column {name!r} has no value at all; leave it out, or say --type {name}=number"
            )
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        if len(kinds) == 1:
            kind = "datetime" if found in ("date", "datetime") else "string"
            raise BundleError(f"the column {name!r} holds values of type {found}; say --type {name}={kind}")
        raise BundleError(
            f"the column {name!r} mixes values of the types {found}; say --type {name}=string, or another"
        )
    if numpy_kind in "iu" and not dtype.startswith("Sparse"):
        return "integer", dtype
    if numpy_kind == "f" and not dtype.startswith("Sparse"):
        return "number", dtype
    raise BundleError(
        f"the column {name!r} is of type {dtype}, which no request can have; change it to a number, text or date"
    )


def _categories(column: Any, name: str) -> dict[str, Any]:
    index = column.dtype.categories
    values = [value.item() if isinstance(value, np.generic) else value for value in index.tolist()]
    if not values or {type(value) for value in values} - {bool, int, float, str}:
        raise BundleError(
            f"the categories of the column {name!r} are {index.dtype}; use text, numbers or booleans"
        )
    return {
        "categories": values,
        "categories_dtype": str(index.dtype),
        "ordered": bool(column.dtype.ordered),
    }


def _require_agreement(name: str, kind: str, known: list[Any]) -> None:
    """Raise BundleError where the encoder's categories are of another type than the column's values."""
    kinds = {KINDS.get(type(value), "other") for value in known}
    numbers = {"number", "integer", "boolean"}
    if (kind == "string") == (kinds == {"string"}) and not (kind in numbers and kinds - numbers):
        return
    other = "string" if "string" in kinds else next(iter(sorted(kinds)))
    raise BundleError(
        f"the column {name!r} holds values of type {kind}, the model was fitted on {other} such as {known[0]!r}; "
        f"say --type {name}={other}"
    )


def _plain(value: Any, kind: str) -> Any:
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return bool(value) if kind == "boolean" else value


def _bound(value: Any) -> float | str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    bound: float = value.item() if hasattr(value, "item") else value
    return bound

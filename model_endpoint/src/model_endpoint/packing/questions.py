"""Ask a fitted estimator what its data can't tell: the form it wants, and what becomes of values that it never saw.

Runs where models are packed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from model_endpoint.models.card import FURTHER
from model_endpoint.models.contract import ARRAY, AS_MISSING, AS_OTHER, FRAME, NOT_TAKEN, TEXTS, Feature
from model_endpoint.models.errors import BundleError
from model_endpoint.models.predictor import Outputs
from model_endpoint.models.scikit_learn import SklearnPredictor
from model_endpoint.packing.training_data import TrainingData

COMPANY_TOLERANCE = 1e-6  # relative to an output's largest number; arithmetic differs by far less
ASKED_ROWS = 5
STRANGERS: dict[str, Sequence[Any]] = {
    "string": ("a value that training did not have", "01067"),
    "integer": (987_654_321, 121),
    "number": (987_654_321.5,),
    "boolean": (),
    "category": (None,),  # what pandas makes of a value that is no category
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the estimator wants and answers: its input's form and type, its further outputs, its answers."""

    form: str
    dtype: str
    more: list[str]
    answers: Outputs


def answers_of(estimator: Any, data: TrainingData, asked: Asked) -> Outputs:
    """The estimator's own answers to rows of the data in its form. Raises what the estimator raises."""
    return SklearnPredictor(estimator)(data.given(asked.form, asked.dtype), True, asked.more)


def ask_form(estimator: Any, data: TrainingData) -> Asked:
    """Find the form of the data to which the estimator gives an answer a row.

    A frame of numbers becomes an array where the answers are the same. Raises BundleError where no form does.
    """
    reasons: list[str] = []
    for form in data.forms:
        if not _possible(form, data):
            continue
        dtype = str(data.table.dtype) if form == ARRAY and not data.is_frame else "float64"
        try:
            asked = Asked(form, dtype, _further(estimator, data, form, dtype), {})
            asked = replace(asked, answers=answers_of(estimator, data, asked))
            counts = {name: len(array) if array.ndim else 0 for name, array in asked.answers.items()}
            if wrong := next((name for name, count in counts.items() if count != len(data)), None):
                raise ValueError(f"{wrong} has {counts[wrong]} answers to {len(data)} rows")
        except Exception as error:  # an estimator raises what its parts raise
            reasons.append(_words(error))
            continue
        return _as_array(estimator, data, asked) if form == FRAME else asked
    raise BundleError(f"the model's predict refuses the data: {reasons[0]}")


def ask_unknown(estimator: Any, data: TrainingData, features: list[Feature], asked: Asked) -> list[Feature]:
    """The features, each that has categories with what becomes of any other value."""
    return [
        replace(feature, unknown=_unknown(estimator, data, at, feature, asked))
        if feature.categories
        else feature
        for at, feature in enumerate(features)
    ]


def depends_on_company(estimator: Any, data: TrainingData, asked: Asked) -> bool:
    """Whether an answer to a row depends on the other rows of the call."""
    order = np.random.default_rng(0).permutation(len(data))
    orders = [order, *(np.array([row]) for row in order[:ASKED_ROWS]), order[: len(data) // 2]]
    for rows in orders:
        if len(rows) == 0:
            continue
        try:
            found = answers_of(estimator, data.take(rows), asked)
        except Exception as error:
            raise BundleError(
                f"the model answers all rows and refuses some of them: {_words(error)}"
            ) from None
        if not all(_near(found[name], array[rows], array) for name, array in asked.answers.items()):
            return True
    return False


def with_value(data: TrainingData, at: int, value: Any) -> TrainingData:
    """The same rows, all with this value in one column."""
    changed = data.take(np.arange(len(data)))
    for row in range(len(changed)):
        changed.put(at, row, value)
    return changed


def _possible(form: str, data: TrainingData) -> bool:
    if form == TEXTS:
        return data.width == 1
    if form == ARRAY and data.is_frame:
        kinds = [getattr(dtype, "kind", "O") for dtype in data.table.dtypes]
        return all(kind in "fiub" for kind in kinds) and all(
            isinstance(x, np.dtype) for x in data.table.dtypes
        )
    return True


def _as_array(estimator: Any, data: TrainingData, asked: Asked) -> Asked:
    """The same as an array of numbers if the estimator answers that with the very same."""
    if not _possible(ARRAY, data):
        return asked
    single = all(dtype == np.float32 for dtype in data.table.dtypes)
    array = Asked(ARRAY, "float32" if single else "float64", asked.more, {})
    try:
        given = data.given(ARRAY, array.dtype)
        exact = all(
            (np.abs(data.column(at)) <= 2**53).all()
            for at, dtype in enumerate(data.table.dtypes)
            if dtype.kind in "iu"
        )
        found = answers_of(estimator, data, array)
    except Exception:  # it wants the frame
        return asked
    same = (
        exact
        and given.shape == data.table.shape
        and all(
            found[name].dtype == right.dtype
            and np.array_equal(found[name], right, equal_nan=right.dtype.kind == "f")
            for name, right in asked.answers.items()
        )
    )
    return replace(array, answers=asked.answers) if same else asked


def _further(estimator: Any, data: TrainingData, form: str, dtype: str) -> list[str]:
    """The outputs besides labels and probabilities that the estimator gives for each row."""
    given = data.given(form, dtype)
    found = []
    for name in FURTHER:
        if not hasattr(estimator, name):
            continue
        with contextlib.suppress(Exception):  # it may have the method and be unable to answer by it
            array = SklearnPredictor(estimator)(given, False, [name])[name]
            if array.ndim and len(array) == len(data) and array.dtype.kind in "biuf":
                found.append(name)
    return found


def _unknown(estimator: Any, data: TrainingData, at: int, feature: Feature, asked: Asked) -> str:
    """What becomes of a value that is none of the categories: asked with values that training did not have."""
    rows = data.take(np.arange(min(ASKED_ROWS, len(data))))
    known = set(feature.categories or [])
    found = []
    for value in STRANGERS[feature.type]:
        if value in known:
            continue
        try:
            found.append(answers_of(estimator, with_value(rows, at, value), asked))
        except Exception:  # an unknown category is refused with many errors
            return NOT_TAKEN
    if feature.type == "category":
        return AS_MISSING
    if not found:
        return NOT_TAKEN
    if feature.missing:
        try:
            gap = None if feature.missing_as == "None" or feature.dtype != "object" else np.nan
            missing = answers_of(estimator, with_value(rows, at, gap), asked)
        except Exception:  # this row refuses a gap
            return AS_OTHER
        if all(np.array_equal(found[0][name], array) for name, array in missing.items()):
            return AS_MISSING
    return AS_OTHER


def _near(got: Any, right: Any, whole: Any) -> bool:
    if got.shape != right.shape or got.dtype.kind != right.dtype.kind:
        return False
    if right.dtype.kind != "f":
        return bool((got == right).all())
    scale = float(np.abs(whole).max())
    return bool((np.abs(got - right) <= COMPANY_TOLERANCE * max(scale, 1e-300)).all())


def _words(error: Exception) -> str:
    """The first sentence of an error, on one line."""
    text = " ".join(str(error).split())
    return text.split(". ")[0][:300] or type(error).__name__

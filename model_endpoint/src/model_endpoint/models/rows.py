"""Turn rows of requests into what a predictor takes, by the contract. Runs in the build and in a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models import cells
from model_endpoint.models.card import Card
from model_endpoint.models.cells import Place, kind
from model_endpoint.models.contract import ARRAY, DICTS, NOT_TAKEN, Columns, Feature, Input
from model_endpoint.models.errors import RequestError, quoted

WARNINGS = 20  # unknown values that an answer names


def from_rows(card: Card, rows: Any, where: str) -> Columns:
    """Read rows that are arrays of values or objects of them; a model of one column takes plain values as well.

    Raises RequestError, which names row, column, value and what is allowed.
    """
    if type(rows) is not list:
        raise RequestError(f"{where} must be an array of rows, not {kind(rows)}")
    if not rows:
        raise RequestError(f"{where} is empty; give at least one row")
    if len(card.features) == 1 and type(rows[0]) not in (list, dict):
        return Columns([cells.read(card.features[0], rows, lambda at: f"{where}[{at}]")])
    if type(rows[0]) is dict:
        return _of_objects(card, rows, where)
    width = len(card.features)
    for at, row in enumerate(rows):
        if type(row) is not list:
            raise RequestError(
                f"{where}[{at}]: a row must be {_row_words(card)}, as the first is, not {kind(row)}"
            )
        if len(row) != width:
            raise RequestError(
                f"{where}[{at}] has {len(row)} values, the model takes {width}: {_names(card)}"
            )
    return _of_lists(card, list(zip(*rows, strict=True)), where)


def from_lists(card: Card, columns: Mapping[str, Any], where: str) -> Columns:
    """Read an object that has an array of values for each column. Raises RequestError."""
    order(card, list(columns), where)
    lists = [columns[feature.name] for feature in card.features]
    for feature, values in zip(card.features, lists, strict=True):
        if type(values) is not list or len(values) != len(lists[0] if type(lists[0]) is list else ()):
            raise RequestError(f"{where}.{feature.name}: the columns need arrays of one length")
    if not lists[0]:
        raise RequestError(f"{where} is empty; give at least one row")
    return _of_lists(card, lists, where)


def from_texts(card: Card, header: list[str], lines: Sequence[Sequence[str]]) -> Columns:
    """Read CSV's lines under their header. Raises RequestError, which names line and column."""
    nameless = len(card.features) == 1 and not card.features[0].name
    places = [0] if nameless else order(card, header, "line 1")
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise RequestError(f"line {number} has {len(line)} values, the header has {len(header)}")
    columns = list(zip(*lines, strict=True))
    arrays = []
    for feature, at in zip(card.features, places, strict=True):
        arrays.append(cells.read_texts(feature, columns[at], _line(feature)))
    return Columns(arrays)


def order(card: Card, columns: Any, where: str) -> list[int]:
    """The position of each of the contract's columns in `columns`.

    Raises RequestError for a column that is missing, unknown or repeated.
    """
    if type(columns) is not list:
        raise RequestError(f"{where} must be an array of the columns' names, not {kind(columns)}")
    names = {feature.name for feature in card.features}
    places: dict[str, int] = {}
    for at, column in enumerate(columns):
        if names == {""} and column != "":
            raise RequestError(f"{where}: the model's one column has no name; send its values as they are")
        if type(column) is not str or column not in names:
            raise RequestError(
                f"{where}: {quoted(column)} is not a feature of the model; its features are {_names(card)}"
            )
        if column in places:
            raise RequestError(f"{where}: {column!r} appears twice")
        places[column] = at
    for feature in card.features:
        if feature.name not in places:
            raise RequestError(f"{where}: {feature.name!r} is missing")
    return [places[feature.name] for feature in card.features]


def prepare(card: Card, columns: Columns) -> Input:
    """What the model's predictor takes: one array where the estimator was fitted on one, else the columns."""
    if card.form != ARRAY:
        return columns
    dtype = card.input_dtype
    # Column after column, as a frame has them: in single precision another order would add up to other digits.
    layout: Literal["C", "F"] = "F" if dtype == np.float32 else "C"
    matrix: NDArray[Any] = np.empty((len(columns), len(card.features)), dtype, layout)
    for at, (feature, array) in enumerate(zip(card.features, columns.arrays, strict=True)):
        if array.dtype.kind == "O" and (dtype.kind != "O" or feature.missing_as is None):
            array = np.array([np.nan if value is None else value for value in array], dtype=object)
        matrix[:, at] = array
    return matrix


def warn(card: Card, columns: Columns, where: str) -> tuple[int, list[str]]:
    """How many values the estimator does not know although the contract takes them, and words for the first few."""
    count = 0
    words: list[str] = []
    for feature, array in zip(card.features, columns.arrays, strict=True):
        if feature.categories is None or feature.unknown in (None, NOT_TAKEN):
            continue
        at = cells.unknown(feature, array)
        count += len(at)
        for row in at[: WARNINGS - len(words)]:
            value = quoted(array.tolist()[row])
            words.append(
                f"{where}[{row}].{feature.label}: training had no {value}, which is {feature.unknown}"
            )
    return count, words


def _of_objects(card: Card, rows: list[Any], where: str) -> Columns:
    names = {feature.name for feature in card.features}
    for at, row in enumerate(rows):
        if type(row) is not dict:
            raise RequestError(f"{where}[{at}] must be an object, as the first row is, not {kind(row)}")
        if row.keys() != names and not (card.form == DICTS and row.keys() <= names):
            order(card, list(row), f"{where}[{at}]")
    return _of_lists(card, [[row.get(item.name) for row in rows] for item in card.features], where)


def _of_lists(card: Card, lists: Sequence[Sequence[Any]], where: str) -> Columns:
    pairs = zip(card.features, lists, strict=True)
    return Columns([cells.read(feature, values, _place(feature, where)) for feature, values in pairs])


def _place(feature: Feature, where: str) -> Place:
    return lambda at: f"{where}[{at}].{feature.label}"


def _line(feature: Feature) -> Place:
    return lambda at: f"line {at + 2}, {feature.label}"


def _row_words(card: Card) -> str:
    numbers = all(feature.plain for feature in card.features)
    return f"an array of {len(card.features)} {'numbers' if numbers else 'values'}"


def _names(card: Card) -> str:
    return ", ".join(feature.label for feature in card.features[:50]) + (
        ", ..." if len(card.features) > 50 else ""
    )

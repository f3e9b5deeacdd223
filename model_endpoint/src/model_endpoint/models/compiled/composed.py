"""A model of several parts that numpy alone answers, whatever its columns are. Runs in the build and in a worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.card import Card
from model_endpoint.models.compiled import (  # noqa: F401 - their parts are registered
    dicts,
    heads,
    imputing,
    kernels,
    meta,
    neighbours,
    numeric,
    oblivious,
    outliers,
    several,
    text,
)
from model_endpoint.models.compiled.columns import Chain, as_objects
from model_endpoint.models.compiled.files import read_arrays, write_arrays
from model_endpoint.models.compiled.nodes import Answering, Head, Step, read_nodes, write_nodes
from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.compiled.tables import NAN, Sparse, Table, dense, rows_in, ticks_of
from model_endpoint.models.contract import ARRAY, Columns, Feature, Input
from model_endpoint.models.predictor import Outputs

PROGRAM = "program"
MOST_CELLS = 1 << 22
"""How many numbers the rows of one pass may have at the widest place; more rows take several passes."""
Convert = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(slots=True)
class Piped(Head):
    """Steps, then what answers."""

    steps: list[Step]
    head: Answering
    _rows: int = field(init=False, default=1)

    @property
    def further(self) -> frozenset[str]:
        return self.head.further

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        count = rows_in(rows)
        if count <= self._rows:
            return self._answer(rows, probabilities, more)
        parts = [
            self._answer(_slice(rows, start, start + self._rows), probabilities, more)
            for start in range(0, count, self._rows)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _answer(self, rows: Table, probabilities: bool, more: Collection[str]) -> Outputs:
        for step in self.steps:
            rows = step(rows)
        return self.head(rows, probabilities, more)

    def check(self, columns: int) -> None:
        widest = columns
        for step in self.steps:
            columns = Chain([step]).width(columns)
            widest = max(widest, columns)
        self.head.check(columns)
        self._rows = max(1, MOST_CELLS // max(1, widest))


def _slice(table: Table, start: int, end: int) -> Table:
    if isinstance(table, list):
        return [column[start:end] for column in table]
    return (dense(table) if isinstance(table, Sparse) else table)[start:end]


class ComposedPredictor:
    """Serves a model of several parts from the columns of its contract."""

    kind = "numpy pipeline"

    def __init__(self, head: Answering, card: Card | None, columns: int) -> None:
        head.check(columns)
        self._head = head
        self._converts = (
            [] if card is None or card.form == ARRAY else [_convert(item) for item in card.features]
        )

    @property
    def further(self) -> frozenset[str]:
        """The outputs besides labels, probabilities and values."""
        return self._head.further

    def __call__(self, rows: Input, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        if not isinstance(rows, Columns):
            return self._head(rows, probabilities, more)
        table = [
            array if convert is None else convert(array)
            for convert, array in zip(self._converts, rows.arrays, strict=True)
        ]
        return self._head(table, probabilities, more)

    def save(self, path: Path) -> None:
        """Write the program and all arrays to an .npz file without pickle."""
        arrays: dict[str, NDArray[Any]] = {}
        program = json.dumps(write_nodes(self._head, arrays))
        write_arrays(path, {PROGRAM: np.frombuffer(program.encode(), np.uint8), **arrays})


def load(path: Path, card: Card) -> CompiledPredictor | ComposedPredictor:
    """Read the compiled form of a model. Raises OSError, KeyError, TypeError or ValueError for any other file."""
    arrays = read_arrays(path)
    if PROGRAM not in arrays:
        predictor = CompiledPredictor.from_arrays(arrays)
        predictor.check(len(card.features))
        return predictor
    program = arrays.pop(PROGRAM)
    head = read_nodes(program.tobytes().decode(), arrays)
    if not isinstance(head, Head | CompiledPredictor):
        raise ValueError(f"{path.name} holds no predictor")
    return ComposedPredictor(head, card, len(card.features))


def _convert(feature: Feature) -> Convert | None:
    """What makes the column as the estimator's own frame has it, of the column as a request has it."""
    if feature.type == "category":
        known = {value: value for value in feature.categories or []}
        return lambda array: as_objects([known.get(value, NAN) for value in array.tolist()])
    if feature.type == "datetime":
        return ticks_of
    if not feature.missing or feature.missing_as == "None":
        return None
    return _with_nan


def _with_nan(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind != "O":
        return array
    return as_objects([NAN if value is None else value for value in array.tolist()])

"""How a model's training data, and its answers to it, spread over bins: a file of its bundle.

Runs where models are packed, in the build and in a worker. A bundle without the file is served without drift.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from model_endpoint.drift.bins import Bins, CategoryBins, NumberBins, Value
from model_endpoint.models.card import PREDICT, Card
from model_endpoint.models.errors import BundleError

DISTRIBUTION_FILE = "distribution.json"


class Fields(TypedDict, total=False):
    """A spread in the file: over categories, `values`, or over numbers, `lowest` and `bounds`."""

    name: str
    lowest: float
    bounds: list[float]
    values: list[Value]
    counts: list[int]


@dataclass(frozen=True, slots=True)
class Spread:
    """How the values of a column or an output spread: `counts` has the training data's number for each bin."""

    name: str
    bins: Bins
    counts: list[int]

    def __post_init__(self) -> None:
        labels = self.bins.labels
        if len(self.counts) != len(labels) or any(
            type(count) is not int or count < 0 for count in self.counts
        ):
            raise ValueError(f"{self.name!r} has the counts {self.counts} for the bins {labels}")

    def fields(self) -> Fields:
        """The spread as plain values, of which `Spread.of` makes it again."""
        if isinstance(self.bins, NumberBins):
            bounds: Fields = {"lowest": self.bins.lowest, "bounds": self.bins.bounds}
            return {"name": self.name, **bounds, "counts": self.counts}
        return {"name": self.name, "values": self.bins.values, "counts": self.counts}

    @classmethod
    def of(cls, fields: Fields) -> Spread:
        """Make a spread of plain values. Raises KeyError, TypeError or ValueError for others."""
        if "values" in fields:
            return cls(fields["name"], CategoryBins(fields["values"]), fields["counts"])
        return cls(fields["name"], NumberBins(fields["lowest"], fields["bounds"]), fields["counts"])


@dataclass(frozen=True, slots=True)
class Distribution:
    """The spreads of a model's columns, some or all of them, and of its outputs."""

    columns: list[Spread]
    outputs: list[Spread]

    def text(self) -> str:
        """The file's content, a line for each spread."""
        return f'{{\n"columns": [{_lines(self.columns)}],\n"outputs": [{_lines(self.outputs)}]\n}}\n'


def read(folder: Path, card: Card) -> Distribution | None:
    """The distribution of the model in `folder`, or None where it has none. Raises BundleError for a broken one."""
    path = folder / DISTRIBUTION_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        distribution = Distribution(
            [Spread.of(fields) for fields in content["columns"]],
            [Spread.of(fields) for fields in content["outputs"]],
        )
        _require(distribution.columns, [feature.name for feature in card.features])
        _require(distribution.outputs, output_names(card))
        if not distribution.columns and not distribution.outputs:
            raise ValueError("it names neither columns nor outputs")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{path} can't be used: {error}; pack the model again, or delete the file to serve it without drift"
        ) from None
    return distribution


def output_names(card: Card) -> list[str]:
    """The outputs that spread: a model's predictions, of which some models have several for a row."""
    shape = next(output.shape for output in card.outputs if output.name == PREDICT)
    return [PREDICT] if len(shape) == 1 else [f"{PREDICT}_{at}" for at in range(shape[1])]


def _lines(spreads: Sequence[Spread]) -> str:
    return ",".join("\n " + json.dumps(spread.fields(), ensure_ascii=False) for spread in spreads)


def _require(spreads: Sequence[Spread], known: Sequence[str]) -> None:
    names = [spread.name for spread in spreads]
    if len(set(names)) < len(names) or not set(names) <= set(known):
        raise ValueError(f"it names {', '.join(names)}, the model has {', '.join(known)}")

"""Prove that a compiled predictor of typed columns or texts answers as scikit-learn does.

Runs where models are packed, and in the image's build.

The rows mix the cells of the verification rows, and have gaps, categories, and values that training did not have, as
far as the contract takes them.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from model_endpoint.models import rows as contract_rows
from model_endpoint.models.card import Card
from model_endpoint.models.contract import DICTS, NOT_TAKEN, TEXTS, Feature
from model_endpoint.models.predictor import Predictor
from model_endpoint.packing import proof
from model_endpoint.packing.compiling.common import NotCompilableError
from model_endpoint.packing.proof import Comparison, Proof
from model_endpoint.packing.questions import STRANGERS
from model_endpoint.packing.variations import TEXT_VALUES

MOST_CELLS = 400_000
MOST_TEXTS = 2_000
LEAST_ROWS = 200
BATCH = 1_000
RARE = 0.04  # the share of gaps, of strangers, and of other numbers among a column's random cells


def prove_columns(
    reference: Predictor, candidate: Predictor, card: Card, rows: list[Any], more: Collection[str] = ()
) -> Proof:
    """Compare `candidate` with the estimator, which is `reference`, on verification rows, random rows and single rows.

    `rows` are as a request has them. Raises NotCompilableError at the first answer that differs.
    """
    generator = np.random.default_rng(proof.SEED)
    random = _random_rows(card, rows, generator)
    singles = [*rows[: proof.SINGLE_ROWS], *random[: proof.SINGLE_ROWS // 2]]
    batches = [("verification", rows)]
    batches += [("random", random[at : at + BATCH]) for at in range(0, len(random), BATCH)]
    comparison = Comparison(reference, candidate, more)

    def prepared(batch: list[Any]) -> Any:
        return contract_rows.prepare(card, contract_rows.from_rows(card, batch, "rows"))

    def add(label: str, batch: list[Any]) -> bool:
        return comparison.add(label, prepared(batch), str(batch[0])[:200])

    with warnings.catch_warnings(), threadpool_limits(limits=1):
        # Of values that training did not have, which are part of the comparison.
        warnings.simplefilter("ignore")
        for label, batch in batches:
            if not add(label, batch) and len(batch) > 1:
                # One row that is refused hides the answers to the others.
                for row in batch[: proof.SINGLE_ROWS]:
                    add(label, [row])
        comparison.add_singles(prepared(singles), [(prepared([row]), str(row)[:200]) for row in singles])
    if not comparison.compared:
        raise NotCompilableError("scikit-learn refuses every row of the proof")
    return Proof(len(rows), len(random), 0, len(singles), comparison.worst, comparison.same_bits)


def _random_rows(card: Card, rows: list[Any], generator: np.random.Generator) -> list[Any]:
    count = min(proof.RANDOM_ROWS, max(LEAST_ROWS, MOST_CELLS // len(card.features)))
    if any(feature.type == "string" and feature.categories is None for feature in card.features):
        count = min(count, MOST_TEXTS)
    if card.form == DICTS:  # a key may be left out
        rows = [[row.get(feature.name) for feature in card.features] for row in rows]
    alone = card.form == TEXTS or (rows and not isinstance(rows[0], list))
    columns = [rows] if alone else list(zip(*rows, strict=True))
    drawn = [
        _column(feature, list(cells), count, generator)
        for feature, cells in zip(card.features, columns, strict=True)
    ]
    if alone:
        return drawn[0]
    found = [list(row) for row in zip(*drawn, strict=True)]
    if card.form != DICTS:
        return found
    names = [feature.name for feature in card.features]
    return [{name: cell for name, cell in zip(names, row, strict=True) if cell is not None} for row in found]


def _column(feature: Feature, cells: list[Any], count: int, generator: np.random.Generator) -> list[Any]:
    """Random cells of one column."""
    found = [cells[at] for at in generator.integers(len(cells), size=count)]
    rare = generator.random(count) < RARE
    for at in np.flatnonzero(rare).tolist():
        found[at] = _other(feature, cells, generator)
    if feature.missing:
        for at in np.flatnonzero(generator.random(count) < RARE).tolist():
            found[at] = None
    return found


def _other(feature: Feature, cells: list[Any], generator: np.random.Generator) -> Any:
    """A value that the verification rows may not have."""
    if feature.categories is not None:
        others = list(feature.categories)
        if feature.unknown != NOT_TAKEN and feature.type != "category":
            others += STRANGERS[feature.type]
        return others[int(generator.integers(len(others)))]
    if feature.type == "string":
        words = " ".join(str(cells[at] or "") for at in generator.integers(len(cells), size=2)).split()
        words += [TEXT_VALUES[int(generator.integers(len(TEXT_VALUES)))]]
        return " ".join(generator.permutation(words).tolist()[: int(generator.integers(1, 9))])
    if feature.type in ("number", "integer") and isinstance(feature.minimum, int | float):
        low, high = float(feature.minimum), float(feature.maximum or 0)
        value = generator.uniform(low - (high - low) / 2, high + (high - low) / 2)
        return float(value) if feature.takes == "number" else min(max(int(value), int(low)), int(high))
    if feature.type == "datetime" and feature.minimum and "," not in (feature.dtype or ""):
        first, last = (
            np.datetime64(str(end), "s").astype(np.int64) for end in (feature.minimum, feature.maximum)
        )
        second = generator.integers(first - (last - first) // 2, last + (last - first) // 2 + 1)
        return str(np.datetime64(int(second), "s"))
    return cells[int(generator.integers(len(cells)))]

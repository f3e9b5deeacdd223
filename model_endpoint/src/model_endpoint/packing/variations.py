"""Rows of values that a request may have besides those of the verification rows. Runs where models are packed.

Gaps and categories come from the training data itself, cell by cell, so they have its own types; what training did not
have is put in their place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from model_endpoint.models.card import Card
from model_endpoint.models.contract import NOT_TAKEN, TEXTS
from model_endpoint.packing import questions
from model_endpoint.packing.questions import STRANGERS, Asked
from model_endpoint.packing.training_data import Index, TrainingData

MOST_ROWS = 400
MOST_CATEGORIES = 50  # of one column
TEXT_VALUES = ("", "01067", "NaN", "null", "ünheard-of wörds 🙂", 'a "quoted", text\nof two lines')


def varied(
    estimator: Any, source: TrainingData, usual: TrainingData, card: Card, asked: Asked
) -> TrainingData:
    """The usual rows, then the varied ones that the estimator answers.

    A gap or a category of the training data is always answered; of what training did not have, only what is.
    """
    generator = np.random.default_rng(0)
    mixed = list(_mixed(source, card, generator))
    chosen = np.unique(np.linspace(0, len(mixed) - 1, min(MOST_ROWS, len(mixed))).astype(int))
    rows = _added(usual, source.mix(np.array([mixed[at] for at in chosen]))) if mixed else usual
    for at, value in _strange(source, card):
        row = usual.take(np.array([int(generator.integers(len(usual)))]))
        row.put(at, 0, value)
        with contextlib.suppress(
            Exception
        ):  # the request is refused as well: by the contract or by the model
            questions.answers_of(estimator, row, asked)
            rows = _added(rows, row)
    return rows


def _mixed(source: TrainingData, card: Card, generator: np.random.Generator) -> Iterator[Index]:
    """For each gap that a column may have, and for each of its categories, where a row's cells come from."""
    for at, feature in enumerate(card.features):
        gaps = source.missing(at)
        places = [int(np.flatnonzero(gaps)[0])] if gaps.any() else []
        if feature.categories is not None:
            firsts = source.firsts(at)
            places += [firsts[value] for value in feature.categories[:MOST_CATEGORIES] if value in firsts]
        for place in places:
            row = np.full(source.width, generator.integers(len(source)))
            row[at] = place
            yield row


def _strange(source: TrainingData, card: Card) -> Iterator[tuple[int, Any]]:
    """Columns and values for them that training did not have."""
    for at, feature in enumerate(card.features):
        if card.form == TEXTS:
            yield from ((at, text) for text in TEXT_VALUES)
        elif feature.categories is not None and feature.unknown != NOT_TAKEN and feature.type != "category":
            yield from ((at, value) for value in STRANGERS[feature.type] if value not in feature.known)
        elif feature.type == "string" and feature.unknown is None:
            yield from ((at, text) for text in TEXT_VALUES[1:5])
        elif feature.type == "datetime":
            values = source.column(at).dropna()
            yield from ((at, values.max() + (values.max() - values.min())), (at, values.min().floor("D")))


def _added(first: TrainingData, second: TrainingData) -> TrainingData:
    if not first.is_frame:
        return TrainingData(np.concatenate([first.table, second.table]), first.names, first.forms)
    import pandas

    columns = {}
    for at, name in enumerate(first.names):
        columns[name] = pandas.concat([first.column(at), second.column(at)], ignore_index=True)
    return TrainingData(pandas.DataFrame(columns), first.names, first.forms)

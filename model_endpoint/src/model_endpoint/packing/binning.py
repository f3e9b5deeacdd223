"""Make the bins of a model's columns and predictions from its training data. Runs where models are packed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.drift.bins import SPECIAL, CategoryBins, NumberBins, Value, text_of
from model_endpoint.drift.distribution import DISTRIBUTION_FILE, Distribution, Spread, output_names
from model_endpoint.drift.tallies import tally_of
from model_endpoint.models.card import PREDICT, Card
from model_endpoint.models.contract import Cell, Feature
from model_endpoint.packing import questions
from model_endpoint.packing.questions import Asked
from model_endpoint.packing.training_data import TrainingData

MOST_COLUMNS = 200  # that have bins; to count more would cost a row too much
MOST_CATEGORIES = 20  # that have a bin of their own
LONGEST_LABEL = 60  # characters
ASKED_ROWS = 10_000  # whose answers are binned
DECILES = np.arange(1, 11) / 10


def write(
    directory: Path,
    estimator: Any,
    data: TrainingData,
    card: Card,
    asked: Asked,
    tell: Callable[[str], None],
) -> None:
    """Write the distribution of a model into its bundle, if anything of it spreads."""
    found = distribution_of(estimator, data, card, asked, tell)
    if found:
        (directory / DISTRIBUTION_FILE).write_text(found.text(), encoding="utf-8")


def distribution_of(
    estimator: Any, data: TrainingData, card: Card, asked: Asked, tell: Callable[[str], None]
) -> Distribution | None:
    """The spreads of the columns that the model reads, and of its predictions; None where nothing spreads."""
    read = [at for at, feature in enumerate(card.features) if feature.read and feature.name]
    if len(read) > MOST_COLUMNS:
        tell(f"drift is measured in the first {MOST_COLUMNS} of {len(read)} columns")
    columns = [_column(data, at, card.features[at]) for at in read[:MOST_COLUMNS]]
    distribution = Distribution([one for one in columns if one], _outputs(estimator, data, card, asked, tell))
    return distribution if distribution.columns or distribution.outputs else None


def _column(data: TrainingData, at: int, feature: Feature) -> Spread | None:
    """The spread of a column; None for one of numbers that has none."""
    missing = int(data.missing(at).sum())
    if feature.categories is None and feature.type in ("number", "integer"):
        return spread_of_numbers(feature.name, data.numbers(at), missing)
    if feature.type == "boolean":
        return spread_of_categories(
            feature.name, feature.categories or [False, True], data.tally(at), missing
        )
    if feature.categories is None:  # texts and dates, of which only missing ones are told apart
        return spread_of_categories(feature.name, [], {"": len(data) - missing}, missing)
    return spread_of_categories(feature.name, feature.categories, data.tally(at), missing)


def spread_of_numbers(name: str, values: NDArray[np.float64], missing: int) -> Spread | None:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    # Deciles that the data has, so that a bound is a number that a person knows.
    bounds = np.unique(np.quantile(finite, DECILES, method="inverted_cdf"))
    bins = NumberBins(float(finite.min()), bounds.tolist())
    counts: list[int] = tally_of(bins)(values).tolist()
    counts[-1] += missing
    return Spread(name, bins, counts)


def spread_of_categories(
    name: str, categories: Sequence[Value], tally: Mapping[Cell, int], missing: int
) -> Spread:
    """The spread over the most frequent categories that have a label of their own."""
    frequent = sorted(categories, key=lambda value: -tally.get(value, 0))
    own: dict[str, Value] = {}
    for value in frequent:
        text = text_of(value)
        if len(own) < MOST_CATEGORIES and len(text) <= LONGEST_LABEL and text not in SPECIAL:
            own.setdefault(text, value)
    values = [value for value in categories if own.get(text_of(value)) is value]
    known = set(categories)
    counts = [tally.get(value, 0) for value in values]
    unknown = sum(count for value, count in tally.items() if value not in known) if categories else 0
    return Spread(
        name, CategoryBins(values), [*counts, sum(tally.values()) - sum(counts) - unknown, unknown, missing]
    )


def _outputs(
    estimator: Any, data: TrainingData, card: Card, asked: Asked, tell: Callable[[str], None]
) -> list[Spread]:
    """The spreads of the predictions for rows of the training data."""
    if card.depends_on_company:  # an answer to these rows together would be none to a request's
        return []
    rows = np.unique(np.linspace(0, len(data) - 1, min(ASKED_ROWS, len(data))).astype(int))
    try:
        answers = questions.answers_of(estimator, data.take(rows), asked)[PREDICT]
    except Exception as error:  # an estimator raises any
        tell(f"drift of the predictions is not measured: the model refuses rows of its data: {error}")
        return []
    names = output_names(card)
    several = [answers] if answers.ndim == 1 else list(answers.T)
    classes: Sequence[Any] = card.classes or []
    groups = [classes] if len(names) == 1 else [group if isinstance(group, list) else [] for group in classes]
    groups = groups if len(groups) == len(names) else [[] for _ in names]
    spreads = [
        _predictions(name, array, group) for name, array, group in zip(names, several, groups, strict=True)
    ]
    return [spread for spread in spreads if spread]


def _predictions(name: str, answers: NDArray[Any], classes: Sequence[Value]) -> Spread | None:
    tally = Counter(answers.tolist())
    whole = answers.dtype.kind in "iu" and len(tally) <= MOST_CATEGORIES
    if classes or whole or answers.dtype.kind not in "iuf":
        return spread_of_categories(name, classes or sorted(tally, key=text_of), tally, 0)
    return spread_of_numbers(name, answers.astype(np.float64), 0)

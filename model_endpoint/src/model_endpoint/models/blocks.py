"""Answer many rows in blocks, so that a call takes little memory and little time. Runs in the build and in a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from time import perf_counter

import numpy as np

from model_endpoint.models.contract import Columns, Input
from model_endpoint.models.predictor import Outputs, Predictor, RowError

FIRST_ROWS = 1024
MOST_VALUES = 1 << 20  # of a block's rows together: 8 MB as float64
# A block should take less, but a predictor whose time per row falls with the block gets larger ones.
SECONDS = 0.05
GAIN = 0.8


class Between(threading.local):
    """What a thread does between two blocks: `look` may raise, so that no further block is computed."""

    look: Callable[[], None] | None = None


between = Between()


def answer_in_blocks(
    predictor: Predictor, given: Input, probabilities: bool, more: Collection[str]
) -> Outputs:
    """What the predictor answers to `given` as one call. Raises what it raises, with rows counted from the first,
    and what is raised between blocks."""
    parts: list[Outputs] = []
    most = max(FIRST_ROWS, MOST_VALUES // _width(given))
    start, size, per_row = 0, FIRST_ROWS, float("inf")
    while start < len(given):
        if start and between.look:
            between.look()
        rows = slice(start, min(start + size, len(given)))
        block = given.take(rows) if isinstance(given, Columns) else given[rows]
        begun = perf_counter()
        try:
            parts.append(predictor(block, probabilities, more) if more else predictor(block, probabilities))
        except RowError as error:
            raise RowError(start + error.row, error.problem) from None
        seconds = perf_counter() - begun
        start = rows.stop
        if seconds < SECONDS or seconds / size < GAIN * per_row:
            per_row, size = seconds / size, min(2 * size, most)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _width(given: Input) -> int:
    return len(given.arrays) if isinstance(given, Columns) else given.shape[1]

"""Counts of values in shared memory, and the window of the last rows."""

from __future__ import annotations

import logging
import multiprocessing
import os
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from model_endpoint.drift import counts as counts_module
from model_endpoint.drift.bins import CategoryBins, NumberBins
from model_endpoint.drift.counts import PART_ROWS, TOGETHER, WINDOW_ROWS, ModelCounts, ValueCounts
from model_endpoint.drift.distribution import Spread
from model_endpoint.drift.report import report
from model_endpoint.models.model import Models
from unit.model_endpoint.drifting import drifted, model_counts

CLASSES = [Spread("predict", CategoryBins([0, 1]), [75, 75, 0, 0, 0])]


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def made(outputs: list[Spread] | None = None, max_workers: int = 1) -> ModelCounts:
    return model_counts(drifted(generator(), 1000, 2), CLASSES if outputs is None else outputs, max_workers)


def add(counts: ModelCounts, rows: int, value: float = 0.0, answer: float = 0) -> None:
    counts.count(np.full((rows, 2), value), np.full(rows, answer))
    counts.flush()


def test_single_rows_are_counted_together_and_none_is_lost() -> None:
    counts = made()
    for _ in range(TOGETHER - 1):
        counts.count(np.zeros((1, 2)), np.array([0]))
    assert sum(counts.totals()) == 0
    counts.count(np.zeros((1, 2)), np.array([1]))
    assert sum(counts.totals()) == 3 * TOGETHER  # two columns and an output
    assert counts.totals()[counts.slices[2]] == [TOGETHER - 1, 1, 0, 0, 0]
    counts.count(np.zeros((1, 2)), np.array([1]))
    counts.flush()
    assert sum(counts.totals()) == 3 * (TOGETHER + 1)


def test_values_beyond_training_and_missing_ones_have_bins() -> None:
    counts = made([])
    counts.count(np.array([[-99.0, 0.0], [99.0, np.nan], [np.inf, -np.inf]]), np.zeros(3))
    counts.flush()
    first, second = (counts.totals()[part] for part in counts.slices)
    assert (first[0], first[-2], first[-1]) == (1, 2, 0)
    assert (second[0], second[-2], second[-1]) == (1, 0, 1)


def test_the_window_has_the_last_rows_alone() -> None:
    counts = made([])
    assert counts.window() is None
    for _ in range(40):
        add(counts, TOGETHER, -99.0)
    for _ in range(1 + (WINDOW_ROWS + PART_ROWS) // TOGETHER):
        add(counts, TOGETHER, 99.0)
    window = counts.window()
    assert window is not None
    assert WINDOW_ROWS <= window.rows < WINDOW_ROWS + 2 * PART_ROWS
    assert window.counts[counts.slices[0]][0] == 0, "rows of before are in the window"
    assert window.begun <= window.last
    assert counts.totals()[0] == 40 * TOGETHER


def test_the_counts_of_workers_add_up_and_one_that_ended_leaves_the_window() -> None:
    counts = made([], max_workers=3)
    context = multiprocessing.get_context("fork")

    def work(worker: int, value: float, rows: int) -> None:
        counts.claim(worker)
        for _ in range(rows // 100):
            add(counts, 100, value)
        os._exit(0)

    for worker, value, rows in ((0, -99.0, 1000), (1, 99.0, 1500), (2, 0.0, 1500)):
        process = context.Process(target=work, args=(worker, value, rows))
        process.start()
        process.join(20)
    assert sum(counts.totals()) == 2 * 4000
    window = counts.window()
    assert window is not None
    assert WINDOW_ROWS <= window.rows <= WINDOW_ROWS + 300
    assert window.counts[counts.slices[0]][0] == 0


def test_numbers_that_are_predicted_are_summed() -> None:
    counts = made([Spread("predict", NumberBins(0.0, [1.0, 2.0]), [0, 50, 50, 0, 0])])
    for answer in (0.5, 1.5, 7.0):
        add(counts, 1, answer=answer)
    assert counts.totals()[counts.slices[2]] == [0, 1, 1, 1, 0]
    assert counts.sums() == [9.0]


def test_answers_are_compared_with_those_before_them() -> None:
    counts = made()
    for _ in range(50):
        add(counts, 100)
    found = report(counts).outputs[0]
    assert found.score is not None
    assert not found.score.drift, "training had other answers, which is no drift"
    for _ in range(50):
        add(counts, 100, answer=1)
    found = report(counts).outputs[0]
    assert found.score is not None
    assert found.score.drift
    assert "100 % '1'" in str(found.values()["moved"])
    assert "in earlier answers" in str(found.values()["moved"])


def test_what_can_not_be_counted_fails_no_request(caplog: pytest.LogCaptureFixture) -> None:
    counts = made()
    with caplog.at_level(logging.ERROR):
        counts.count(np.zeros((1, 2)), np.array([["an answer of several outputs", 0]], object))
        counts.flush()
    assert "the values of 1 rows could not be counted" in caplog.text
    add(counts, 5)
    assert sum(counts.totals()) == 15


def test_rows_that_wait_are_counted_within_a_second_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts_module, "SECONDS", 0.01)
    model = made()
    every = ValueCounts({"drawn": model})
    every.start(0)
    model.count(np.zeros((1, 2)), np.array([0]))
    deadline = monotonic() + 10
    while not sum(model.totals()):
        assert monotonic() < deadline
    monkeypatch.setattr(counts_module, "SECONDS", 60)
    model.count(np.zeros((1, 2)), np.array([0]))
    every.stop()
    assert sum(model.totals()) == 6


def test_a_model_without_a_distribution_is_not_counted(models: Models, tmp_path: Path) -> None:
    every = ValueCounts.of(models, tmp_path, 1)
    assert every.models == {}
    every.start(0)
    every.stop()


def test_shipped_models_are_counted(models: Models, served: Path) -> None:
    assert ValueCounts.of(models, served, 1).models.keys() == models.keys()

"""Many rows are answered in blocks: the same answers, little memory, and rows that are named by their own number."""

from __future__ import annotations

import tracemalloc
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from model_endpoint.models import blocks
from model_endpoint.models.blocks import FIRST_ROWS, answer_in_blocks
from model_endpoint.models.compiled.trees import nodes_by_tree
from model_endpoint.models.contract import Columns
from model_endpoint.models.predictor import Outputs, Rows, require_finite
from model_endpoint.packing.compiling.compiler import compile_estimator

MEBIBYTE = 1 << 20


class Recorder:
    """A predictor that doubles its first column, and keeps the size of each call."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, rows: Any, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        self.sizes.append(len(rows))
        column: Rows = rows.arrays[0] if isinstance(rows, Columns) else rows[:, 0]
        require_finite(column)
        return {"predict": 2 * column} | dict.fromkeys(more, column)


@pytest.mark.parametrize("columns", [False, True])
def test_blocks_add_up_to_one_answer(columns: bool) -> None:
    recorder, numbers = Recorder(), np.arange(10_001.0)
    given = Columns([numbers]) if columns else numbers[:, np.newaxis]
    outputs = answer_in_blocks(recorder, given, False, ["transform"])
    assert outputs["predict"].tolist() == (2 * numbers).tolist()
    assert outputs["transform"].tolist() == numbers.tolist()
    assert recorder.sizes[0] == FIRST_ROWS
    assert len(recorder.sizes) > 2


def test_a_row_is_named_by_its_number_in_the_request() -> None:
    rows = np.zeros((5000, 1))
    rows[4321] = np.nan
    with pytest.raises(ValueError, match="row 4321 gives a result that is not finite"):
        answer_in_blocks(Recorder(), rows, False, ())


def test_wide_rows_make_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST_VALUES", 50 * 2000)
    recorder = Recorder()
    answer_in_blocks(recorder, np.zeros((10_000, 50)), False, ())
    assert max(recorder.sizes) == 2000


def test_a_slow_predictor_gets_no_larger_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "SECONDS", 0.0)
    monkeypatch.setattr(blocks, "GAIN", 0.0)
    recorder = Recorder()
    answer_in_blocks(recorder, np.zeros((10 * FIRST_ROWS, 1)), False, ())
    assert set(recorder.sizes) == {FIRST_ROWS}


def test_a_forest_of_many_trees_answers_many_rows_in_little_memory() -> None:
    data, target = load_iris(return_X_y=True)
    forest = RandomForestClassifier(500, random_state=0).fit(data, target)
    predictor = compile_estimator(forest)
    rows = np.random.default_rng(0).uniform(0, 8, (30_000, 4))
    tracemalloc.start()
    outputs = predictor(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * MEBIBYTE  # trees x rows would be 120 MB
    np.testing.assert_array_equal(outputs["predict_proba"], forest.predict_proba(rows))
    # Fewer rows go another way through the trees.
    np.testing.assert_array_equal(predictor(rows[:500])["predict_proba"], outputs["predict_proba"][:500])


def test_a_node_of_two_trees_is_refused() -> None:
    depths = np.ones(2, dtype=np.intp)
    assert nodes_by_tree(np.array([2, 1, 2, 3], dtype=np.int32), depths)[1] == [3, 4]
    with pytest.raises(ValueError, match="belongs to two trees, or to none"):
        nodes_by_tree(np.array([2, 2, 2, 3], dtype=np.int32), depths)
    with pytest.raises(ValueError, match="belongs to two trees, or to none"):
        nodes_by_tree(np.array([2, 1, 2, 3, 4], dtype=np.int32), depths)
    with pytest.raises(ValueError, match="has another depth than the file says"):
        nodes_by_tree(np.array([2, 1, 2, 3], dtype=np.int32), depths + 1)

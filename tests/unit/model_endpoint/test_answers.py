"""One answer of each request is counted, into bins that two releases have in common."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray

from model_endpoint.drift.answers import AnswerCounts, _float_at, _place, common_bounds
from model_endpoint.drift.bins import CategoryBins, NumberBins
from model_endpoint.drift.counts import FEW, ModelCounts
from model_endpoint.drift.distribution import Spread
from model_endpoint.packing.binning import spread_of_numbers
from model_endpoint.web.service import Service
from unit.model_endpoint.drifting import drifted, model_counts

CLASSES = Spread("predict", CategoryBins(["cat", "dog"]), [75, 75, 0, 0, 0])
NUMBERS = Spread("predict_1", NumberBins(0.0, [1.0, 2.0]), [0, 50, 50, 0, 0])
SETOSA = [5.1, 3.5, 1.4, 0.2]


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def bounds_of(values: NDArray[np.float64]) -> list[float]:
    """The bounds of a model that answered its training rows with these numbers."""
    spread = spread_of_numbers("predict", values, 0)
    assert spread is not None
    assert isinstance(spread.bins, NumberBins)
    return common_bounds(spread.bins)


def made(outputs: list[Spread]) -> ModelCounts:
    return model_counts(drifted(generator(), 1000, 2), outputs)


def test_floats_have_places_in_their_order() -> None:
    floats = [-math.inf, -1e300, -2.5, -5e-324, 0.0, 5e-324, 1.0, math.nextafter(1.0, 2.0), 1e300]
    assert [_float_at(_place(number)) for number in floats] == floats
    assert sorted(floats, key=_place) == floats
    assert _place(-0.0) == _place(0.0)


@pytest.mark.parametrize(
    "numbers",
    [
        lambda draw, size: draw.normal(295, 2, size),
        lambda draw, size: draw.lognormal(3, 2, size),
        lambda draw, size: draw.normal(0, 1, size),
        lambda draw, size: draw.poisson(3, size).astype(float),
    ],
    ids=["narrow", "long tail", "around 0", "whole"],
)
def test_releases_of_other_training_data_share_most_bounds_where_they_spread(numbers) -> None:  # type: ignore[no-untyped-def]
    one, other = (numbers(np.random.default_rng(seed), 5000) for seed in (1, 2))
    common = sorted(set(bounds_of(one)) & set(bounds_of(other)))
    assert len(bounds_of(one)) < 200
    parts = np.bincount(np.searchsorted(common, one, side="right"), minlength=len(common) + 1) / len(one)
    own = max(0.12, np.unique(one, return_counts=True)[1].max() / len(one))
    assert parts.max() <= own, "a part of the numbers is not told apart"


@pytest.mark.parametrize(
    ("low", "high"), [((290, 300), (310, 320)), ((-3, -2), (2, 3)), ((0, 1e-3), (1, 2)), ((7, 7), (7.5, 7.5))]
)
def test_a_bound_between_numbers_that_do_not_overlap_is_common(
    low: tuple[float, float], high: tuple[float, float]
) -> None:
    common = set(bounds_of(np.linspace(*low, 500))) & set(bounds_of(np.linspace(*high, 500)))
    assert any(low[1] < bound <= high[0] for bound in common)


def test_bounds_rise_and_are_finite() -> None:
    for values in ([3.0] * 200, [-1.7e308, 1.7e308] * 100, [0.0, 1e-300, 1.0, 1e300] * 50):
        bounds = bounds_of(np.array(values))
        assert bounds == sorted(set(bounds))
        assert all(map(math.isfinite, bounds))
        assert bounds


def test_a_request_counts_once_however_many_rows_it_has() -> None:
    counts = made([CLASSES])
    rows = 10_000
    counts.count(np.zeros((rows, 2)), np.full(rows, "cat"))
    counts.count(np.zeros((FEW, 2)), np.full(FEW, "dog"))
    counts.count(np.zeros((1, 2)), np.array(["dog"]))
    counts.count(np.zeros((1, 2)), np.array(["bird"]))
    counts.count(np.zeros((1, 2)), np.array(["dog"]), by_chance=False)
    counts.flush()
    assert counts.answers.values() == {"predict": {"classes": ["cat", "dog"], "counts": [1, 2, 1, 0, 0]}}
    assert sum(counts.totals()[counts.slices[2]]) == rows + FEW + 3


@pytest.mark.parametrize("rows", [2, FEW + 1])
def test_any_row_of_a_request_may_be_the_one_that_counts(rows: int) -> None:
    counts = made([CLASSES])
    answers = np.array(["cat"] * (rows // 2) + ["dog"] * (rows - rows // 2))
    for _ in range(400):
        counts.count(np.zeros((rows, 2)), answers)
    counts.flush()
    cats, dogs, *others = counts.answers.values()["predict"]["counts"]
    assert cats + dogs == 400
    assert 130 < cats < 270
    assert others == [0, 0, 0]


def test_numbers_are_counted_below_each_bound() -> None:
    counts = made([NUMBERS])
    for number in (-1e9, 0.0, 1.0, 1.0, 1e9, math.inf, math.nan):
        counts.count(np.zeros((1, 2)), np.array([number]))
    counts.flush()
    found = counts.answers.values()["predict_1"]
    below = dict(zip(found["bounds"], np.cumsum(found["counts"]).tolist(), strict=False))
    assert below[0.0] == 1
    assert below[1.0] == 2
    assert below[2.0] == 4
    assert found["counts"][-2:] == [2, 1]
    assert sum(found["counts"]) == 7


def test_several_outputs_are_counted_each() -> None:
    counts = made([CLASSES, NUMBERS])
    counts.count(np.zeros((1, 2)), np.array([["cat", 0.5]], object))
    counts.count(np.zeros((100, 2)), np.array([["dog", 1.5]] * 100, object))
    counts.flush()
    found = counts.answers.values()
    assert found["predict"]["counts"] == [1, 1, 0, 0, 0]
    assert sum(found["predict_1"]["counts"]) == 2


def test_the_counts_of_workers_add_up() -> None:
    counts = AnswerCounts([CLASSES], 2)

    def work(worker: int) -> None:
        counts.count(worker, ["cat"] * (worker + 1))
        os._exit(0)

    for worker in (0, 1):
        process = multiprocessing.get_context("fork").Process(target=work, args=(worker,))
        process.start()
        process.join(20)
    assert counts.values()["predict"]["counts"] == [3, 0, 0, 0, 0]


def test_answers_that_can_not_be_counted_fail_no_request(caplog: pytest.LogCaptureFixture) -> None:
    counts = AnswerCounts([CLASSES], 1)
    with caplog.at_level(logging.ERROR):
        counts.count(0, [["cat", 0]])
    assert "the answers to 1 requests could not be counted" in caplog.text
    counts.count(0, ["cat"])
    assert counts.values()["predict"]["counts"] == [1, 0, 0, 0, 0]


def test_a_model_without_a_distribution_of_its_answers_has_no_outputs() -> None:
    counts = made([])
    counts.count(np.zeros((1, 2)), np.array(["cat"]))
    counts.flush()
    assert counts.answers.values() == {}


def test_an_endpoint_tells_its_answers_but_those_of_clients_that_chose_the_release(
    client: FlaskClient, service: Service
) -> None:
    def setosas() -> int:
        service.value_counts.models["iris"].flush()
        found = client.get("/metrics/answers").get_json()
        assert (found["release"], found["start"]) == ("r1", service.metrics.start_time)
        assert found["models"].keys() == service.models.keys()
        counts = found["models"]["iris"]["predict"]
        assert counts["classes"] == ["setosa", "versicolor", "virginica"]
        return int(counts["counts"][0])

    before = setosas()
    tensor = {"name": "input", "shape": [1, 4], "datatype": "FP64", "data": SETOSA}
    for headers in ({}, {"X-Release": "r1"}):
        client.post("/predict", json={"model": "iris", "instances": [SETOSA, SETOSA]}, headers=headers)
        client.post("/v2/models/iris/infer", json={"inputs": [tensor]}, headers=headers)
        client.post("/invocations?model=iris", json={"inputs": [SETOSA]}, headers=headers)
    assert setosas() == before + 3

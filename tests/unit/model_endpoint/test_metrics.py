"""Counters in shared memory."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from model_endpoint.runtime.metrics import NO_MODEL, Metrics


def test_metrics_add_up_over_workers_and_survive_one_that_dies() -> None:
    metrics = Metrics(["iris"], max_workers=4)
    context = multiprocessing.get_context("fork")

    def work(requests: int, die: bool) -> None:
        metrics.claim()
        for _ in range(requests):
            metrics.begin("iris")
            metrics.end("iris", "iris", 200, 0.0003, 2)
        if die:
            metrics.begin("iris")
        os._exit(0)

    for requests, die in ((500, True), (300, False), (200, False)):
        process = context.Process(target=work, args=(requests, die))
        process.start()
        process.join(10)
    totals = metrics.totals()["iris"]
    assert totals.statuses["200"] == 1000
    assert totals.rows.sum == 2000
    assert sum(totals.seconds.counts) == 1000
    assert dict(zip(totals.seconds.bounds, totals.seconds.counts, strict=False))[0.0005] == 1000
    assert totals.seconds.sum == pytest.approx(0.3)
    assert totals.in_flight == 0


def test_a_request_is_counted_for_the_model_that_answers_it() -> None:
    metrics = Metrics(["iris"], max_workers=1)
    metrics.begin(NO_MODEL)
    assert metrics.totals()[NO_MODEL].in_flight == 1
    metrics.end(NO_MODEL, "iris", 418, 9.0, 3)
    totals = metrics.totals()
    assert totals[NO_MODEL].in_flight == 0
    assert sum(totals[NO_MODEL].statuses.values()) == 0
    assert totals["iris"].statuses["other"] == 1
    assert totals["iris"].seconds.counts[-1] == 1  # above all bounds


def test_shared_calls_are_counted_with_their_rows() -> None:
    metrics = Metrics(["iris"], max_workers=1)
    metrics.count_call("iris", 7)
    metrics.count_call("iris", 2)
    calls = metrics.totals()["iris"].calls
    assert (sum(calls.counts), calls.sum) == (2, 9)


def test_workers_get_indexes_of_their_own_and_no_more_than_there_are() -> None:
    metrics = Metrics(["iris"], max_workers=2)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    over = context.Event()

    def work() -> None:
        try:
            results.put(str(metrics.claim()))
        except RuntimeError as error:
            results.put(str(error))
        over.wait(10)
        os._exit(0)

    processes = [context.Process(target=work) for _ in range(3)]
    found = []
    for process in processes:
        process.start()
        found.append(results.get())
    assert found == ["0", "1", "all 2 blocks of the metrics belong to running workers"]
    assert set(metrics.processes().values()) == {process.pid for process in processes[:2]}
    over.set()
    for process in processes:
        process.join(10)

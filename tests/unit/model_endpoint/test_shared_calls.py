"""Calls that several requests share."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from model_endpoint.models.shared_calls import SharedCalls


class Slow:
    """Doubles its rows, counts its calls, refuses negative ones, and takes its time."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, rows: Any, probabilities: bool = True, more: Any = ()) -> Any:
        self.calls.append(len(rows))
        time.sleep(0.05)
        if (rows < 0).any():
            raise ValueError("negative")
        return {"predict": rows[:, 0] * 2}


def together(shared: SharedCalls, many: list[Any]) -> list[Any]:
    answers: list[Any] = [None] * len(many)

    def ask(index: int) -> None:
        try:
            answers[index] = shared(many[index])["predict"].tolist()
        except ValueError as error:
            answers[index] = str(error)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(many))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_requests_that_wait_share_one_call() -> None:
    slow, counted = Slow(), list[int]()
    answers = together(
        SharedCalls(slow, counted.append), [np.full((2, 1), float(index)) for index in range(10)]
    )
    assert answers == [[2.0 * index] * 2 for index in range(10)]
    assert len(slow.calls) <= 3
    assert sum(counted) == 20


def test_a_refused_request_fails_alone() -> None:
    answers = together(
        SharedCalls(Slow(), lambda rows: None), [np.full((1, 1), value) for value in (1.0, -1.0, 2.0)]
    )
    assert answers == [[2.0], "negative", [4.0]]


def test_a_shared_call_is_bounded() -> None:
    slow = Slow()
    together(SharedCalls(slow, lambda rows: None, most_rows=4), [np.ones((2, 1)) for _ in range(8)])
    assert max(slow.calls) <= 4
    assert sum(slow.calls) == 16

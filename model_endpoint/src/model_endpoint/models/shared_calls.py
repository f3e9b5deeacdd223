"""Calls of a predictor that several requests share. Runs in a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

import numpy as np

from model_endpoint.models.contract import Input, join
from model_endpoint.models.predictor import Outputs, Predictor


class SharedCalls:
    """Puts all requests that wait into one call of the predictor; `count` gets the number of rows of each call.

    There is no timer: a request that finds the predictor idle calls it at once. Requests that arrive during a call
    share the next one, which has at most `most_rows` rows unless a single request has more.
    """

    def __init__(self, predictor: Predictor, count: Callable[[int], None], most_rows: int = 4096) -> None:
        self._predictor = predictor
        self._count = count
        self._most_rows = most_rows
        self._waiting: list[_Ticket] = []
        self._list_lock = threading.Lock()
        self._call_lock = threading.Lock()

    def __call__(self, rows: Input, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        ticket = _Ticket(rows, probabilities, more)
        with self._list_lock:
            self._waiting.append(ticket)
        with self._call_lock:
            # An earlier request may have answered this one; with many rows, several calls may come before it.
            while ticket.outputs is None and ticket.error is None:
                self._serve(self._take())
        if ticket.error is not None:
            raise ticket.error
        assert ticket.outputs is not None
        return ticket.outputs

    def _take(self) -> list[_Ticket]:
        with self._list_lock:
            rows = np.cumsum([len(ticket.rows) for ticket in self._waiting])
            count = max(1, int(np.searchsorted(rows, self._most_rows, side="right")))
            taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _serve(self, tickets: list[_Ticket]) -> None:
        try:
            rows = join([ticket.rows for ticket in tickets])
            probabilities = any(ticket.probabilities for ticket in tickets)
            if more := {name for ticket in tickets for name in ticket.more}:
                outputs = self._predictor(rows, probabilities, more)
            else:
                outputs = self._predictor(rows, probabilities)
            self._count(len(rows))
        except Exception as error:
            if len(tickets) > 1:  # one request is at fault; to find it, each gets a call of its own
                for ticket in tickets:
                    self._serve([ticket])
            else:
                tickets[0].error = error
            return
        end = 0
        for ticket in tickets:
            start, end = end, end + len(ticket.rows)
            ticket.outputs = {name: array[start:end] for name, array in outputs.items()}


class _Ticket:
    """The rows of one request, then its outputs or its error."""

    def __init__(self, rows: Input, probabilities: bool, more: Collection[str]) -> None:
        self.rows = rows
        self.probabilities = probabilities
        self.more = more
        self.outputs: Outputs | None = None
        self.error: Exception | None = None

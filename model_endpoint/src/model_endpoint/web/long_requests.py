"""Requests with many rows wait for each other, so that those with few need not wait for them. Runs in a worker.

A worker computes as many long requests at a time as its settings say, and lets a few more wait. Short requests have
threads of their own: the interpreter gives each its turn within milliseconds, however long the rows of others take.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

DIGITS = 5  # of the length of a long request's body: 10 kB, which are some hundreds of rows
WAITING = 12  # long requests
MORE_THREADS = WAITING + 4
"""The threads that a worker needs besides those that compute long requests."""

BUSY = "this endpoint has as many large requests as it may; try again"


def is_long(environ: WSGIEnvironment) -> bool:
    """Whether a request may have many rows, by the length of its body; one that does not tell it may."""
    return len(environ.get("CONTENT_LENGTH", "")) >= DIGITS or "HTTP_TRANSFER_ENCODING" in environ


class LongRequests:
    """Turns of long requests, of which at most `threads` are computed at a time."""

    def __init__(self, threads: int) -> None:
        self._turns = threading.Semaphore(threads)
        self._places = threading.Semaphore(threads + WAITING)

    def begin(self) -> bool:
        """Wait for a turn, which `end` gives back. Returns False where too many wait already."""
        if not self._places.acquire(blocking=False):
            return False
        self._turns.acquire()
        return True

    def end(self) -> None:
        """Give back the turn that `begin` got."""
        self._turns.release()
        self._places.release()

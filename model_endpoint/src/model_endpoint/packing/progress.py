"""Say what takes long while it takes long. Runs where models are packed."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

FIRST_SECONDS, FIRST_SECONDS_IN_A_FILE = 2.0, 15.0


@contextmanager
def working(on: str) -> Iterator[None]:
    """Print what is being done, with the time it has taken, to stderr: first after a while, then ever more rarely."""
    done = threading.Event()
    start = time.monotonic()

    def report() -> None:
        pause = FIRST_SECONDS if sys.stderr.isatty() else FIRST_SECONDS_IN_A_FILE
        while not done.wait(pause):
            print(f"{on} ... {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)  # noqa: T201
            pause *= 1.5

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

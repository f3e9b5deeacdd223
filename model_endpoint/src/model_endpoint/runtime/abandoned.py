"""Which requests have lost their clients, as load balancers told. Runs in a worker.

A server tells an application nothing of a client that leaves, so Nginx does: in POST /abandoned, which any worker may
get. All workers share the memory.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterable

PLACES = 4096


class Abandoned:
    """Keys of abandoned requests; made before the workers are forked.

    Once in a while a later key takes the place of an earlier one. Then a request is computed although its client has
    left.
    """

    def __init__(self) -> None:
        self._places = memoryview(mmap.mmap(-1, PLACES * 8)).cast("Q")

    def add(self, keys: Iterable[str]) -> None:
        """Keep that the requests with these keys are abandoned."""
        for key in keys:
            number = _number(key)
            self._places[number % PLACES] = number

    def __contains__(self, key: str) -> bool:
        number = _number(key)
        return self._places[number % PLACES] == number


def _number(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) or 1

"""Which of the server's threads take requests. Runs in a worker.

While a thread computes a long request, another one has to take the short ones. But where several threads take short
requests, each of these costs a tenth more, because the threads hand the interpreter to each other. So a worker lets as
many threads take requests as its settings say; the others are parked until a long request needs one of them to take
its thread's place. A thread is parked in the `close` of an answer, after the client has got it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from threading import get_ident, get_native_id

SPARE = 12
"""The most threads of a worker besides those that take requests; as many long requests are held at a time."""

OTHERS = 8  # threads that a worker has for everything else


def spare_threads(workers: int, taking: int, cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """SPARE, or fewer, but at least one, where the container may not have that many processes and threads."""
    for file in ("pids.max", "pids/pids.max"):
        try:
            limit = (cgroup / file).read_text().strip()
        except OSError:
            continue
        if limit.isdecimal():
            # A worker and its successor run side by side for a while.
            return max(1, min(SPARE, int(limit) // (2 * workers) - OTHERS - taking))
    return SPARE


class Threads:
    """The threads of a server that starts one when requests wait and fewer than `taking` + `spare` are there.

    It may end one that has nothing to do.
    """

    def __init__(self, taking: int, spare: int) -> None:
        self._most = taking
        self._spare = spare
        self.taking: dict[int, int] = {}
        """The threads that take requests, by their numbers, with their native ones; others call `leave`."""
        self._parked: list[_Place] = []
        self._long = 0
        self._lock = threading.Lock()

    def begin_long(self) -> bool:
        """Have another thread take requests in place of the calling one; False where no thread is left for that."""
        with self._lock:
            if self._long >= self._spare:
                return False
            self._long += 1
            self.taking.pop(get_ident(), None)
            self._forget_ended()
            while self._parked and len(self.taking) < self._most:
                place = self._parked.pop()
                self.taking[place.ident] = place.native_id
                place.free.set()
        return True

    def end_long(self) -> None:
        """End what `begin_long` began; the calling thread then leaves."""
        with self._lock:
            self._long -= 1

    def leave(self, answer: bytes) -> list[bytes] | Parking:
        """The answer as the server should get it from a thread that does not take requests: such that it parks."""
        return [answer] if self._returns() else Parking(answer, self)

    def park(self) -> None:
        """Wait until a thread is needed, unless one is needed now."""
        with self._lock:
            if self._return():
                return
            place = _Place()
            self._parked.append(place)
        place.free.wait()

    def _returns(self) -> bool:
        with self._lock:
            return self._return()

    def _return(self) -> bool:
        self._forget_ended()
        if len(self.taking) < self._most:
            self.taking[get_ident()] = get_native_id()
        return get_ident() in self.taking

    def _forget_ended(self) -> None:
        ended = [
            ident
            for ident, native_id in self.taking.items()
            if not Path(f"/proc/self/task/{native_id}").exists()
        ]
        for ident in ended:
            del self.taking[ident]


class _Place:
    def __init__(self) -> None:
        self.ident, self.native_id = get_ident(), get_native_id()
        self.free = threading.Event()


class Parking:
    """An answer whose thread parks once it is sent; its headers tell its length, or the client would wait for more."""

    def __init__(self, answer: bytes, threads: Threads) -> None:
        self._answer = iter([answer])
        self._threads = threads

    def __iter__(self) -> Iterator[bytes]:
        return self._answer

    def close(self) -> None:
        """Park; the server calls this after it has sent the answer."""
        self._threads.park()

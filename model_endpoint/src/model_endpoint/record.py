"""One JSON line a request, and samples of payloads, written by a thread that no request waits for."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

import orjson

from model_endpoint.settings import Settings

if TYPE_CHECKING:
    from model_endpoint.service import Exchange

BACKLOG = 10_000  # entries; beyond it they are dropped, so that a stuck log can't fill the memory
SHADOW_BACKLOG = 1_000  # the same for lines that hold an answer
MOST_ANSWER = 64 << 10  # bytes of the largest answer that a line holds


class Recorder:
    """Writes request lines to standard output and captured payloads to a file.

    Failures are always logged, and so is a request that a second release is asked as well, with its answer, by
    which the two can be compared. Of the rest, and of payloads, one in so many is recorded, spread evenly.
    """

    def __init__(self, settings: Settings, worker: int = 0) -> None:
        self._settings = settings
        self._worker = worker
        self._log_every = _one_in(settings.log_sample)
        self._capture_every = _one_in(settings.capture_sample) if settings.capture_file else 0
        self._seen = 0
        self._entries: SimpleQueue[tuple[bool, dict[str, Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)

    def start(self) -> None:
        """Start writing; called in each worker, as a thread does not survive a fork."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, then end."""
        if self._thread.is_alive():
            self._entries.put(None)
            self._thread.join(timeout=2)

    def record(self, exchange: Exchange, seconds: float, answer: bytes, shadow: bool = False) -> None:
        """Log a request that was answered and capture its payload, as far as the samples have it.

        `shadow` says that another release is asked the same.
        """
        self._seen += 1
        if shadow:
            entry = self._line(exchange, seconds) | {"shadow": True, "answer": _text(answer)}
            self._put(False, entry, SHADOW_BACKLOG)
        elif exchange.status >= 400 or (self._log_every and self._seen % self._log_every == 0):
            self._put(False, self._line(exchange, seconds))
        if self._capture_every and exchange.rows and self._seen % self._capture_every == 0:
            self._capture(exchange, answer)

    def _line(self, exchange: Exchange, seconds: float) -> dict[str, Any]:
        return {
            "time": time.time(),
            "endpoint": self._settings.endpoint,
            "release": self._settings.release,
            "request_id": exchange.request_id,
            "method": exchange.method,
            "path": exchange.path[:200],
            "status": exchange.status,
            "milliseconds": round(seconds * 1000, 3),
            "model": exchange.model,
            "rows": exchange.rows,
        }

    def _capture(self, exchange: Exchange, answer: bytes) -> None:
        entry = {
            "time": time.time(),
            "release": self._settings.release,
            "request_id": exchange.request_id,
            "path": exchange.path,
            "request": exchange.body.decode(errors="replace"),
            "answer": answer.decode(errors="replace"),
        }
        self._put(True, entry)

    def _put(self, captured: bool, entry: dict[str, Any], backlog: int = BACKLOG) -> None:
        if self._entries.qsize() < backlog:
            self._entries.put((captured, entry))

    def _write(self) -> None:
        capture = _Capture(self._settings.capture_file, self._worker, self._settings.capture_bytes)
        while (entry := self._entries.get()) is not None:
            captured, content = entry
            line = orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
            try:
                if captured:
                    capture.write(line)
                else:
                    # One write: lines of several workers do not mix, unless nobody reads them and the pipe is full.
                    os.write(sys.stdout.fileno(), line)
            except OSError as error:
                print(f"can't record: {error}", file=sys.stderr)  # noqa: T201


class _Capture:
    """A file that never grows beyond `limit` bytes, with the file before it kept under `.1`.

    Each worker has a file of its own, named by the worker's number, which the one that replaces it takes over.
    """

    def __init__(self, path: Path | None, worker: int, limit: int) -> None:
        self._path = None if path is None else path.with_name(f"{path.name}.{worker}")
        self._limit = limit
        self._file: IO[bytes] | None = None
        self._size = 0

    def write(self, line: bytes) -> None:
        if self._path is None or len(line) > self._limit:
            return
        if self._file is not None and self._size + len(line) > self._limit:
            self._file.close()
            self._file = None
        if self._file is None:
            if self._path.exists():
                self._path.rename(f"{self._path}.1")
            self._file = self._path.open("wb")
            self._size = 0
        self._file.write(line)
        self._file.flush()
        self._size += len(line)


def _one_in(share: float) -> int:
    return round(1 / share) if share > 0 else 0


def _text(answer: bytes) -> str | None:
    """The answer as a line holds it; None for a large one, and for one with binary tensors."""
    try:
        return answer.decode() if len(answer) <= MOST_ANSWER else None
    except UnicodeDecodeError:
        return None

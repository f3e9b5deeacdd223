"""The request log, one JSON line a request, and captured payloads. Runs in a worker.

A thread writes them, so that no request waits.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

import orjson

from model_endpoint.runtime.request_context import RequestContext
from model_endpoint.runtime.settings import Settings

MAX_BACKLOG = 10_000  # entries; more are dropped, so that a log that nothing reads can't fill the memory
MAX_SHADOW_BACKLOG = 1_000  # the same for lines that hold an answer
MAX_ANSWER = 64 << 10  # bytes of the largest answer that a line holds


class RequestLog:
    """Writes request lines to standard output and captured payloads to a file.

    Failures are always logged. A request that is also sent to a second release is always logged with its answer, so
    that the two answers can be compared. The settings' samples say how many of the other requests are logged and how
    many payloads are captured: every n-th.
    """

    def __init__(self, settings: Settings, worker: int = 0) -> None:
        self._settings = settings
        self._worker = worker
        self._log_every = _one_in(settings.log_sample)
        self._capture_every = _one_in(settings.capture_sample) if settings.capture_file else 0
        self._seen = 0
        self._entries: SimpleQueue[tuple[bool, dict[str, Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="request-log", daemon=True)

    def start(self) -> None:
        """Start writing; called in each worker, since a thread does not survive a fork."""
        self._thread.start()

    def stop(self) -> None:
        """Write the entries that wait, then end the thread."""
        if self._thread.is_alive():
            self._entries.put(None)
            self._thread.join(timeout=2)

    def record(self, context: RequestContext, seconds: float, answer: bytes, shadow: bool = False) -> None:
        """Log a request that was answered and capture its payload, if the samples include it.

        `shadow` says that the request is also sent to another release.
        """
        self._seen += 1
        if shadow:
            entry = self._line(context, seconds) | {"shadow": True, "answer": _text(answer)}
            self._put(False, entry, MAX_SHADOW_BACKLOG)
        elif context.status >= 400 or (self._log_every and self._seen % self._log_every == 0):
            self._put(False, self._line(context, seconds))
        if self._capture_every and context.rows and self._seen % self._capture_every == 0:
            self._capture(context, answer)

    def _line(self, context: RequestContext, seconds: float) -> dict[str, Any]:
        return {
            "time": time.time(),
            "endpoint": self._settings.endpoint,
            "release": self._settings.release,
            "request_id": context.request_id,
            "method": context.method,
            "path": context.path[:200],
            "status": context.status,
            "milliseconds": round(seconds * 1000, 3),
            "model": context.model,
            "rows": context.rows,
        }

    def _capture(self, context: RequestContext, answer: bytes) -> None:
        entry = {
            "time": time.time(),
            "release": self._settings.release,
            "request_id": context.request_id,
            "path": context.path,
            "request": context.body.decode(errors="replace"),
            "answer": answer.decode(errors="replace"),
        }
        self._put(True, entry)

    def _put(self, captured: bool, entry: dict[str, Any], backlog: int = MAX_BACKLOG) -> None:
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
                    # One write, so that lines of several workers do not mix while the pipe has room.
                    os.write(sys.stdout.fileno(), line)
            except OSError as error:
                print(f"can't write to the request log or the capture file: {error}", file=sys.stderr)  # noqa: T201


class _Capture:
    """A file of at most `limit` bytes; a full one is renamed to `.1`, which replaces the one before.

    Each worker has a file of its own, named by the worker's index; the worker's successor continues with it.
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
    """The answer as text; None for one above MAX_ANSWER bytes, and for one with binary tensors."""
    try:
        return answer.decode() if len(answer) <= MAX_ANSWER else None
    except UnicodeDecodeError:
        return None

"""A bar that shows how far the file is scored. Runs on a client's machine."""

from __future__ import annotations

import sys
import time

WIDTH = 30
EVERY_SECONDS, EVERY_SECONDS_IN_A_FILE = 0.2, 15.0


class Bar:
    """Shows the share of the file's bytes that are scored, the rows, their rate and the time left, on stderr."""

    def __init__(self, size: int) -> None:
        self._size = max(1, size)
        self._began = time.monotonic()
        self._shown = 0.0
        self._first: tuple[int, int] | None = None
        self._live = sys.stderr.isatty()

    def show(self, rows: int, position: int, under_way: int, last: bool = False) -> None:
        """Show that so many rows are scored, up to a position in the file; rarely, unless it is the `last` time."""
        if self._first is None:
            self._first = (rows, position)
        now = time.monotonic()
        if not last and now - self._shown < (EVERY_SECONDS if self._live else EVERY_SECONDS_IN_A_FILE):
            return
        self._shown = now
        share = 1.0 if last else min(1.0, position / self._size)
        seconds = max(1e-9, now - self._began)
        done = max(1e-9, share - self._first[1] / self._size)
        left = (1 - share) * seconds / done
        filled = round(WIDTH * share)
        text = (
            f"[{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}  {rows:,} rows, "
            f"{(rows - self._first[0]) / seconds:,.0f} a second, {under_way} at a time, {left:.0f} s left"
        )
        sys.stderr.write(f"\r{text}\033[K" if self._live else f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the bar where it is."""
        if self._live:
            sys.stderr.write("\n")

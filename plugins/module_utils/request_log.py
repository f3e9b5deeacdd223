"""Runs on load balancers: the files of the log of requests, and their lines, for modules access_log and log_lines."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Iterator

ROTATED_LOGS = 3  # as in access_log.js of role nginx_lb
# Most lines are too old, and parsing a line as JSON takes seven times as long as this.
AT = re.compile(r'"at":(\d+\.\d+)')


def log_files(path: pathlib.Path) -> list[pathlib.Path]:
    """Return the log and the rotated logs, which have a number after its name, the newest first."""
    return [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, 1 + ROTATED_LOGS))]


def lines_since(log: Iterable[str], since: float) -> Iterator[str]:
    """Yield the lines of requests answered at `since` (seconds since the epoch) or later."""
    for line in log:
        at = AT.search(line)
        if at and float(at[1]) >= since:
            yield line

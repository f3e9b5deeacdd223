"""Numbers as a person reads them, each with its unit."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

Format = Callable[[float | None], str]
"""Writes a number with its unit."""

NONE = "\N{EN DASH}"
"""Stands for a number that nobody knows."""

SPACE = "\N{NO-BREAK SPACE}"
_SIZES = ("B", "kB", "MB", "GB", "TB")


def _short(value: float) -> str:
    """Return a number with three digits, without an exponent."""
    if value and abs(value) < 0.001:
        return f"{value:.1g}" if abs(value) >= 1e-4 else "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}".replace(",", SPACE)
    return text.rstrip("0").rstrip(".") if "." in text else text


def known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def plain(value: float | None) -> str:
    return NONE if value is None or not math.isfinite(value) else _short(value)


def rate(value: float | None) -> str:
    return f"{plain(value)}{SPACE}/s" if known(value) else NONE


def percent(share: float | None) -> str:
    """Return a share as a percentage: never 0 for something."""
    if share is None or not math.isfinite(share):
        return NONE
    if 0 < share < 0.0001:
        return f"<{SPACE}0.01{SPACE}%"
    return f"{_short(100 * share)}{SPACE}%"


def seconds(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return NONE
    if value < 1:
        return f"{_short(1000 * value)}{SPACE}ms"
    return f"{_short(value)}{SPACE}s"


def size(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return NONE
    place = 0
    while value >= 1000 and place < len(_SIZES) - 1:
        value, place = value / 1000, place + 1
    return f"{_short(value)}{SPACE}{_SIZES[place]}"


def span(value: float | None) -> str:
    """Return a time span in its one or two largest units."""
    if value is None or not math.isfinite(value):
        return NONE
    whole = max(0, int(value))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}{SPACE}d{SPACE}{hours}{SPACE}h" if hours and days < 10 else f"{days}{SPACE}d"
    if hours:
        return f"{hours}{SPACE}h{SPACE}{minutes}{SPACE}min" if minutes else f"{hours}{SPACE}h"
    if minutes:
        return f"{minutes}{SPACE}min" + (
            f"{SPACE}{whole % 60}{SPACE}s" if minutes < 10 and whole % 60 else ""
        )
    return f"{whole}{SPACE}s"


def moment(value: float | None) -> str:
    """Return a time to the minute, in UTC."""
    if not value or not math.isfinite(value):
        return NONE
    return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M}".replace(" ", SPACE) + f"{SPACE}UTC"


def parsed(text: str) -> float | None:
    """Return a time in ISO 8601 as seconds since the epoch, None where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None

"""Checks of what a compiled model is made of, which may be hostile. Runs in the build and in a worker."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

WIDEST = 1 << 22
"""How many columns a part may take or make; a float64 for each is 32 MiB a row."""


def require(right: object, words: str) -> None:
    """Raise ValueError unless the content of a compiled model is right."""
    if not right:
        raise ValueError(f"the compiled form contradicts itself: {words}")


def require_within(indices: NDArray[Any], size: int, words: str) -> None:
    """Raise ValueError unless every index lies from 0 to below `size`."""
    require(not indices.size or (indices.min() >= 0 and indices.max() < size), f"{words} lie outside")

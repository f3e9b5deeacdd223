"""The bins of a column or an output, into which its values are counted.

Runs where models are packed, in the build and in a worker. A bin's label is the same wherever it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass

Value = bool | int | float | str

BELOW, ABOVE, OTHER, UNKNOWN, MISSING = "(below)", "(above)", "(other)", "(unknown)", "(missing)"
SPECIAL = frozenset({BELOW, ABOVE, OTHER, UNKNOWN, MISSING})


@dataclass(frozen=True, slots=True)
class NumberBins:
    """Bins of numbers: below `lowest`, up to each of the rising `bounds`, above the last of them, and missing.

    Training had nothing below `lowest` and nothing above the last bound.
    """

    lowest: float
    bounds: list[float]

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip(self.bounds, self.bounds[1:], strict=False))
        if not (self.bounds and rising and self.lowest <= self.bounds[0]):
            raise ValueError(f"the bounds {self.lowest}, {self.bounds} do not rise")

    @property
    def labels(self) -> list[str]:
        return [BELOW, *(f"<={text_of(bound)}" for bound in self.bounds), ABOVE, MISSING]


@dataclass(frozen=True, slots=True)
class CategoryBins:
    """Bins of categories: one for each of `values`, then other ones of training, unknown, and missing."""

    values: list[Value]

    def __post_init__(self) -> None:
        texts = [text_of(value) for value in self.values]
        if len({*texts, *SPECIAL}) < len(texts) + len(SPECIAL):
            raise ValueError(f"two of the categories {texts} have the same label")

    @property
    def labels(self) -> list[str]:
        return [*(text_of(value) for value in self.values), OTHER, UNKNOWN, MISSING]


Bins = NumberBins | CategoryBins


def text_of(value: Value) -> str:
    """A value in a label: as short as it can be without being another one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    short = f"{value:.6g}"
    return short if float(short) == value else repr(value)

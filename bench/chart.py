"""Draw the benchmarks' charts: horizontal bars in groups, as an SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

BAR, LEFT, WIDTH = 22, 220, 520
OURS, OTHERS = "#0b5cad", "#9aa7b4"


@dataclass(frozen=True)
class Bar:
    """A bar: who, how much, how that is written, and whether it is drawn as ours."""

    label: str
    value: float
    text: str
    ours: bool


def bars(
    title: str, groups: Mapping[str, Sequence[Bar]], page_width: int = 820, own_scales: bool = False
) -> str:
    """Return an SVG with a group of bars for each name.

    All are on one logarithmic scale, which knows no zero, or each group is on a linear one of its own. `page_width`
    leaves room for the text of the longest bar.
    """
    values = [bar.value for group in groups.values() for bar in group]
    parts: list[str] = []
    top = 50
    for name, group in groups.items():
        parts.append(f'<text x="10" y="{top}" class="case">{escape(name)}</text>')
        top += 10
        most = max(bar.value for bar in group) or 1
        for bar in group:
            size = WIDTH * (bar.value / most if own_scales else logarithmic(bar.value, values))
            fill = OURS if bar.ours else OTHERS
            parts.append(f'<text x="{LEFT - 8}" y="{top + 15}" text-anchor="end">{escape(bar.label)}</text>')
            parts.append(f'<rect x="{LEFT}" y="{top}" width="{size:.0f}" height="{BAR - 4}" fill="{fill}"/>')
            parts.append(f'<text x="{LEFT + size + 6:.0f}" y="{top + 15}">{escape(bar.text)}</text>')
            top += BAR
        top += 34
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {page_width} {top}" '
        'font-family="system-ui, sans-serif" '
        'font-size="13" role="img"><style>text{fill:#1b2733}.case{font-weight:600}</style>'
        f'<rect width="{page_width}" height="{top}" fill="#fff"/>'
        f'<text x="10" y="24" font-size="16">{escape(title)}</text>' + "".join(parts) + "</svg>\n"
    )


def logarithmic(value: float, values: Sequence[float]) -> float:
    """Return where a value is between half the lowest of `values`, 0, and the highest, 1."""
    low, high = min(values) / 2, max(values)
    return math.log(value / low) / math.log(high / low)

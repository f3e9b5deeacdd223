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
    """A bar: who, how much (above zero), how that is written, and whether it is drawn in our colour."""

    label: str
    value: float
    text: str
    ours: bool


def bars(title: str, groups: Mapping[str, Sequence[Bar]], page_width: int = 820) -> str:
    """Return an SVG with a group of bars for each name, all on one logarithmic scale.

    `page_width` leaves room for the text of the longest bar.
    """
    values = [bar.value for group in groups.values() for bar in group]
    low, high = min(values) / 2, max(values)
    parts: list[str] = []
    top = 50
    for name, group in groups.items():
        parts.append(f'<text x="10" y="{top}" class="case">{escape(name)}</text>')
        top += 10
        for bar in group:
            size = WIDTH * math.log(bar.value / low) / math.log(high / low)
            colour = OURS if bar.ours else OTHERS
            parts.append(f'<text x="{LEFT - 8}" y="{top + 15}" text-anchor="end">{escape(bar.label)}</text>')
            parts.append(
                f'<rect x="{LEFT}" y="{top}" width="{size:.0f}" height="{BAR - 4}" fill="{colour}"/>'
            )
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

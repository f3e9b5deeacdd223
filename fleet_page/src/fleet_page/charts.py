"""Draws curves and bars as SVG, by pygal, without scripts and without styles: static/fleet.css has those.

So the page's policy need not allow any, and they follow the reader's light or dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import pygal
from markupsafe import Markup

from fleet_page.numbers import Format
from fleet_page.prometheus import Series, Window

SIZE_OF_CURVES, SIZE_OF_BARS = (640, 230), (420, 210)
"""The width and the height of a drawing; the page gives it the room that there is."""
MOST = 8
"""How many curves a chart has: more could not be told apart."""
GAP_STEPS = 2.5
"""A curve is interrupted where points are farther apart than this many steps."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A named series."""

    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, as a numbered line across the charts."""

    at: float
    kind: str
    """release, canary, drain, alert or run."""
    words: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a chart's legend, which tells in numbers what the curve shows."""

    at: int
    name: str
    last: str
    mean: str
    highest: str


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    svg: Markup
    rows: list[Row] = field(default_factory=list)
    left_out: int = 0
    """How many curves more there are."""
    empty: str = ""
    """Why there is nothing to draw, and what to do."""


def named(series: Iterable[Series], label: str, other: str = "none") -> list[Curve]:
    """Return series as curves, named by their label, the one with the highest last values first."""
    curves = [Curve(entry.labels.get(label) or other, entry.points) for entry in series if entry.points]
    return sorted(curves, key=lambda curve: (-_mean(curve.points[-5:]), curve.name))


def curves(
    title: str, series: Sequence[Curve], window: Window, shown: Format, marks: Sequence[Mark], empty: str
) -> Chart:
    """Draw curves over a stretch of time; `shown` writes a value with its unit."""
    kept = [curve for curve in series if curve.points][:MOST]
    if not kept:
        return Chart(title, Markup(), empty=empty)
    highest = max(value for curve in kept for _, value in curve.points)
    ticks = _ticks(highest)
    chart = pygal.XY(
        **_options(SIZE_OF_CURVES), show_dots=False, xrange=(window.start, window.end), range=(0, ticks[-1])
    )
    chart.x_labels = [{"value": at, "label": label} for at, label in _times(window)]
    chart.y_labels = [{"value": value, "label": shown(value)} for value in ticks]
    for curve in kept:
        chart.add(curve.name, _interrupted(curve.points, window.step))
    for mark in marks:
        chart.add(mark.kind, [(mark.at, 0), (mark.at, ticks[-1])])
    rows = [
        Row(
            at,
            curve.name,
            shown(curve.points[-1][1]),
            shown(_mean(curve.points)),
            shown(_highest(curve.points)),
        )
        for at, curve in enumerate(kept)
    ]
    return Chart(title, _svg(chart, title, marks, len(kept)), rows, len(series) - len(kept))


def bars(title: str, labels: Sequence[str], sides: Sequence[Sequence[float]], shown: Format) -> Markup:
    """Draw shares by bin, of several sides over each other: the first one filled, the others as outlines."""
    ticks = _ticks(max((value for side in sides for value in side), default=1))
    chart = pygal.Histogram(**_options(SIZE_OF_BARS), xrange=(0, len(labels)), range=(0, ticks[-1]))
    chart.x_labels = [{"value": at + 0.5, "label": label} for at, label in enumerate(labels)]
    chart.y_labels = [{"value": value, "label": shown(value)} for value in ticks]
    for at, side in enumerate(sides):
        inset = 0.06 + 0.1 * at
        chart.add(str(at), [(value, place + inset, place + 1 - inset) for place, value in enumerate(side)])
    if max(map(len, labels), default=0) * len(labels) > ROOM:
        chart.x_label_rotation = 40
    return _svg(chart, title, (), len(sides))


ROOM = 45
"""How many characters of labels fit below a chart side by side."""

_OPTIONS = {
    "css": [],
    "js": [],
    "no_prefix": True,
    "disable_xml_declaration": True,
    "show_legend": False,
    "margin": 6,
    "margin_right": 14,
    "margin_top": 16,
    "truncate_label": 14,
    "include_x_axis": True,
    "allow_interruptions": True,
}


def _options(size: tuple[int, int]) -> dict[str, Any]:
    return {**_OPTIONS, "width": size[0], "height": size[1]}


def _svg(chart: pygal.Graph, title: str, marks: Sequence[Mark], curves_drawn: int) -> Markup:
    """Return a chart as SVG for a page: its title, its shapes and their classes, nothing else."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        parent.attrib.pop("style", None)
        for child in list(parent):
            kind = child.get("class", "")
            drop = child.tag in ("defs", "desc", "title", "script", "style") or not isinstance(child.tag, str)
            if drop or "overlay" in kind or kind in ("background", "titles"):
                parent.remove(child)
    root.attrib.pop("id", None)
    root.set("role", "img")
    root.set("aria-label", title)
    root.set("class", "chart")
    for group in root.iter("g"):
        place = group.get("class", "").removeprefix("series serie-").partition(" ")[0]
        if not place.isdigit():
            continue
        if int(place) < curves_drawn:
            group.set("class", f"serie serie-{place}")
        else:
            _number(group, marks[int(place) - curves_drawn])
    return Markup(tostring(root, encoding="unicode"))  # noqa: S704 - pygal escapes what it is given


def _number(group: Element, mark: Mark) -> None:
    """Make a mark's line known by its kind, and write the mark's number above it."""
    group.set("class", f"mark mark-{mark.kind}")
    path = group.find("path")
    if path is not None:
        across = path.get("d", "M0").split()[0].removeprefix("M")
        SubElement(group, "text", {"x": across, "y": "-3"}).text = str(mark.number)


def _interrupted(points: Sequence[tuple[float, float]], step: int) -> list[tuple[float, float | None]]:
    """Return points with a gap where some are missing."""
    found: list[tuple[float, float | None]] = []
    for at, value in points:
        if found and at - found[-1][0] > GAP_STEPS * step:
            found.append((at - step, None))
        found.append((at, value))
    return found


def _ticks(highest: float) -> list[float]:
    """Return round values from 0 to at least `highest`."""
    if highest <= 0:
        return [0, 1]
    power = 10 ** math.floor(math.log10(highest / 4))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power * 4 >= highest)
    return [at * step for at in range(math.ceil(highest / step) + 1)]


def _times(window: Window) -> list[tuple[float, str]]:
    """Return about six round times of a window, each with its label in UTC."""
    span = window.end - window.start
    steps = (600, 900, 3600, 2 * 3600, 4 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 5 * 86400)
    step = next((step for step in steps if span / step <= 7), steps[-1])
    form = "%H:%M" if step < 12 * 3600 else "%d %b"
    first = math.ceil(window.start / step) * step
    places = range(int(first), int(window.end) + 1, step)
    return [(at, f"{datetime.fromtimestamp(at, UTC):{form}}") for at in places]


def _mean(points: Sequence[tuple[float, float]]) -> float:
    return sum(value for _, value in points) / len(points)


def _highest(points: Sequence[tuple[float, float]]) -> float:
    return max(value for _, value in points)

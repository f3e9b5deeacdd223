"""A model: its contract, who asks it, what it answers, and how far its rows are from those of its training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fleet_page import numbers, queries
from fleet_page.charts import Chart, Curve, Mark, bars, curves, named
from fleet_page.facts import Feature, Model, Spread
from fleet_page.now import Found
from fleet_page.prometheus import Series, Window
from fleet_page.queries import Range, counted, matchers, quantile, recorded, total
from model_endpoint.drift.bins import (
    ABOVE,
    BELOW,
    MISSING,
    OTHER,
    UNKNOWN,
    Bins,
    CategoryBins,
    NumberBins,
    text_of,
)
from model_endpoint.drift.score import Score, moved, score

SPECIAL = {
    UNKNOWN: "unknown",
    MISSING: "missing",
    BELOW: "below training's lowest",
    ABOVE: "above training's highest",
}
"""The bins that tell of values which training did not have, in words."""

DRAWN = 12
"""How many columns are drawn, the farthest from training first; the table has all of them."""

LONGEST = 4
"""How many categories of a column are named in the table."""

NO_ROWS = "The model got no rows in this time. Choose a longer time, or send a request."
NO_DRIFT = (
    "No drift is measured: it takes 100 rows, and the distribution.json that flotilla-model pack writes."
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column or an output: how its values spread in training and in the chosen time."""

    name: str
    type: str
    values: str
    missing: str
    score: Score | None
    moved: str
    special: str
    live: list[float]
    """How many values each bin got."""
    spread: Spread | None
    rows: float

    @property
    def ratio(self) -> float | None:
        return self.score.value / self.score.bound if self.score else None


def texts(model: Model, release: str, over: Range) -> dict[str, str]:
    """Return the queries of a model's curves."""
    name = model["name"]
    labels = matchers(model=name)
    return {
        "requests": total(["status"], recorded("requests", over, labels)),
        "failed": queries.failed(["model"], "requests", over, model=name),
        **{
            f"p{100 * share:g}": quantile(share, [], recorded("request_seconds", over, labels))
            for share in queries.SHARES
        },
        "classes": total(["output", "class"], recorded("predictions", over, labels)),
        **{
            f"value{share}": quantile(share, ["output"], recorded("predicted_value", over, labels))
            for share in (0.1, 0.5, 0.9)
        },
        "drift": f"max by (column) ({recorded(queries.DRIFT, over, matchers(model=name, release=release))})",
        **({"special": _special_share(model, over)} if model["columns"] else {}),
    }


def _special_share(model: Model, over: Range) -> str:
    """Return the query for the share of the values that training did not have.

    Each row has a value of each column, so one column tells how many there are: a model may have hundreds.
    """
    special = matchers(model=model["name"], bin=[*SPECIAL])
    one = matchers(model=model["name"], column=model["columns"][0]["name"])
    rows = f"sum({recorded('column_values', over, one)})"
    values = f"{len(model['columns'])} * {rows}"
    return f"{total(['bin'], recorded('column_values', over, special))} / scalar({values} > 0)"


def count_texts(name: str, release: str, over: Range) -> dict[str, str]:
    """Return the queries of what was counted in the whole range."""
    of_release = matchers(model=name, release=release)
    return {
        "columns": total(["column", "bin"], counted("column_values", over, of_release)),
        "classes": total(["output", "class"], counted("predictions", over, of_release)),
        "clients": total(["client"], counted("client_requests", over, matchers(model=name))),
        "requests": total(["release"], counted("requests", over, matchers(model=name))),
    }


def charts(found: Mapping[str, Sequence[Series]], window: Window, marks: Sequence[Mark]) -> list[Chart]:
    """Draw a model's curves."""
    latency = [
        Curve(f"p{100 * share:g}", entry.points)
        for share in queries.SHARES
        for entry in found.get(f"p{100 * share:g}", ())
    ]
    drift = named(found.get("drift", ()), "column")
    special = [
        Curve(SPECIAL.get(entry.labels.get("bin", ""), "other"), entry.points)
        for entry in found.get("special", ())
    ]
    asked = "No request was counted in this time. Choose a longer time, or send one."
    return [
        curves(
            "Requests a second, by status",
            named(found.get("requests", ()), "status"),
            window,
            numbers.rate,
            marks,
            asked,
        ),
        curves("Latency", latency, window, numbers.seconds, marks, asked),
        *_answers(found, window, marks),
        curves("Drift by column, in percent of its bound", drift, window, numbers.percent, marks, NO_DRIFT),
        curves(
            "Values that training did not have, share of all",
            special,
            window,
            numbers.percent,
            marks,
            NO_ROWS,
        ),
    ]


def _answers(found: Mapping[str, Sequence[Series]], window: Window, marks: Sequence[Mark]) -> list[Chart]:
    """Draw what was predicted: the classes' shares, and the middle and the ends of numbers."""
    made = []
    for output, series in _by_output(found.get("classes", ())).items():
        made.append(curves(f"Classes of {output}", shares(series), window, numbers.percent, marks, NO_ROWS))
    words = {"value0.9": "9 of 10 are below", "value0.5": "half are below", "value0.1": "1 of 10 is below"}
    values: dict[str, list[Curve]] = defaultdict(list)
    for name, told in words.items():
        for entry in found.get(name, ()):
            values[entry.labels.get("output", "")].append(Curve(told, entry.points))
    for output, lines in values.items():
        if any(line.points for line in lines):
            made.append(curves(f"Values of {output}", lines, window, numbers.plain, marks, NO_ROWS))
    return made or [curves("Answers", [], window, numbers.plain, marks, NO_ROWS)]


def _by_output(series: Sequence[Series]) -> dict[str, list[Series]]:
    found: dict[str, list[Series]] = defaultdict(list)
    for entry in series:
        found[entry.labels.get("output", "")].append(entry)
    return dict(sorted(found.items()))


def shares(series: Sequence[Series]) -> list[Curve]:
    """Return each class' share of what was predicted at a time."""
    sums: dict[float, float] = defaultdict(float)
    for entry in series:
        for at, value in entry.points:
            sums[at] += value
    return [
        Curve(curve.name, [(at, value / sums[at]) for at, value in curve.points if sums[at]])
        for curve in named(series, "class")
    ]


def bins_of(spread: Spread) -> Bins:
    if "values" in spread:
        return CategoryBins(spread["values"])
    return NumberBins(spread["lowest"], spread["bounds"])


def columns(model: Model, found: Found) -> list[Column]:
    """Return the model's columns, the farthest from its bound first."""
    counts: dict[str, dict[str, float]] = defaultdict(dict)
    for sample in found.get("columns", ()):
        counts[sample.labels.get("column", "")][sample.labels.get("bin", "")] = sample.value
    spreads = {spread["name"]: spread for spread in model["columns"]}
    made = [
        _column(
            feature["name"], feature["type"], feature, spreads.get(feature["name"]), counts[feature["name"]]
        )
        for feature in model["features"]
    ]
    made.sort(key=lambda column: -(column.ratio or 0))
    return made


def answers(model: Model, found: Found) -> list[Column]:
    """Return the classes that were predicted beside those of the training data, by output."""
    counts: dict[str, dict[str, float]] = defaultdict(dict)
    for sample in found.get("classes", ()):
        counts[sample.labels.get("output", "")][sample.labels.get("class", "")] = sample.value
    return [
        _column(spread["name"], "classes", None, spread, counts[spread["name"]])
        for spread in model["answers"]
        if "values" in spread
    ]


def _column(
    name: str, kind: str, feature: Feature | None, spread: Spread | None, counts: Mapping[str, float]
) -> Column:
    scored, words, special = None, "", ""
    live: list[float] = []
    if spread:
        bins, training = bins_of(spread), spread["counts"]
        live = [counts.get(label, 0.0) for label in bins.labels]
        scored = score(live, training)
        words = moved(bins, live, training, "training") if scored else ""
        special = _special(bins, live)
    return Column(
        name,
        kind,
        _values(feature) if feature else "",
        "yes" if feature and feature.get("missing") else "no",
        scored,
        words,
        special,
        live,
        spread,
        sum(counts.values()),
    )


def pictures(drawn: Sequence[Column]) -> list[tuple[Column, Markup]]:
    """Draw the distributions of those columns that have one."""
    return [
        (column, _picture(column.name, bins_of(column.spread), column.spread["counts"], column.live))
        for column in drawn
        if column.spread
    ]


def _picture(name: str, bins: Bins, training: Sequence[float], live: Sequence[float]) -> Markup:
    """Draw both distributions over each other, without special bins that neither has."""
    kept = [
        at
        for at, label in enumerate(bins.labels)
        if training[at] or live[at] or label not in (*SPECIAL, OTHER)
    ]
    sides = [[counts[at] / sum(counts) if sum(counts) else 0.0 for at in kept] for counts in (training, live)]
    return bars(f"{name}: training and live", [bins.labels[at] for at in kept], sides, numbers.percent)


def clients(found: Found) -> list[tuple[str, float]]:
    """Return who asked how often, by the names of API keys, the one who asked most first."""
    pairs = [(sample.labels.get("client", ""), sample.value) for sample in found.get("clients", ())]
    return sorted((pair for pair in pairs if pair[1]), key=lambda pair: (-pair[1], pair[0]))


def _special(bins: Bins, live: Sequence[float]) -> str:
    """Return in words which share of the values training did not have."""
    rows = sum(live)
    if not rows:
        return ""
    told = [
        f"{numbers.percent(count / rows)} {SPECIAL[label]}"
        for label, count in zip(bins.labels, live, strict=True)
        if label in SPECIAL and count
    ]
    return ", ".join(told) or "none"


def _values(feature: Feature) -> str:
    """Return in words which values a column takes."""
    if categories := feature.get("categories"):
        names = ", ".join(text_of(value) for value in categories[:LONGEST])
        more = f" and {len(categories) - LONGEST} more" if len(categories) > LONGEST else ""
        return f"{names}{more}; unknown ones are {feature.get('unknown', 'refused')}"
    if "minimum" in feature and "maximum" in feature:
        return f"{text_of(feature['minimum'])} to {text_of(feature['maximum'])} in training"
    return "any"

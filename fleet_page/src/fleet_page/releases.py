"""Releases and runs: the history, and a candidate beside the live release."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fleet_page import numbers
from fleet_page.charts import bars
from fleet_page.facts import Fleet, Release, Run
from fleet_page.now import Found, by, put_live, share, who
from fleet_page.queries import SHARES, matchers, quantile
from model_endpoint.drift.score import Score, score

SIGNS = {
    "released": "●",
    "rolled back": "↶",
    "returned": "↶",
    "canary": "◐",
    "shadow": "◐",
    "changed": "○",
    "failed": "✖",
    "refused": "✖",
}

LONGEST_SECONDS = 86400
"""How far back the two sides are compared at most."""

SHOWN_RUNS = 200


@dataclass(frozen=True, slots=True)
class RunRow:
    run: Run
    at: float | None
    sign: str
    seconds: float | None
    """None where the audit log does not tell when the run began."""


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    release: Release
    live_seconds: float | None
    """How long it was live; None for the live one."""
    who: str


@dataclass(frozen=True, slots=True)
class Side:
    """The live release or the candidate, as its endpoints answered."""

    name: str
    release: str
    requests: float | None
    failed: float | None
    latency: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model answered on both sides."""

    model: str
    output: str
    picture: Markup
    score: Score | None
    rows: tuple[float, float]


def runs(fleet: Fleet) -> list[RunRow]:
    made = []
    for run in fleet["runs"][:SHOWN_RUNS]:
        at, started = numbers.parsed(run["time"]), numbers.parsed(run["started"])
        seconds = at - started if at is not None and started is not None else None
        made.append(RunRow(run, at, SIGNS.get(run["result"], "○"), seconds))
    return made


def releases(fleet: Fleet) -> list[ReleaseRow]:
    """Return the live release and those before it, the last first."""
    every = [*([fleet["live"]] if fleet["live"] else []), *fleet["previous"]]
    made = []
    for at, release in enumerate(every):
        after = every[at - 1]["since"] if at else None
        made.append(
            ReleaseRow(release, after - release["since"] if after else None, who(put_live(fleet, release)))
        )
    return made


def texts(fleet: Fleet, now: float) -> dict[str, str]:
    """Return the queries that compare both sides, none without a candidate."""
    if not fleet["candidate"] or not fleet["live"]:
        return {}
    sides = [fleet["live"]["id"], fleet["candidate"]["release"]["id"]]
    seconds = int(max(300, min(LONGEST_SECONDS, now - fleet["candidate"]["release"]["since"])))

    def series(name: str, **labels: str | Sequence[str]) -> str:
        return f"flotilla:{name}:rate1m{matchers(release=sides, **labels)}[{seconds}s]"

    made = {
        "requests": f"sum by (release) (avg_over_time({series('release_requests')}))",
        "failed": "sum by (release) (avg_over_time(flotilla:release_requests:rate1m"
        f'{{release=~"{"|".join(sides)}",status=~"5.."}}[{seconds}s]))',
        "classes": f"sum by (release, model, output, class) (60 * sum_over_time({series('predictions')}))",
        "values": f"sum by (release, model, output, le) (60 * sum_over_time({series('predicted_value')}))",
    }
    for part in SHARES:
        made[f"p{100 * part:g}"] = quantile(
            part, ["release"], f"avg_over_time({series('release_request_seconds')})"
        )
    return made


def sides(fleet: Fleet, found: Found) -> list[Side]:
    """Return both sides of a comparison, none without a candidate."""
    candidate, live = fleet["candidate"], fleet["live"]
    if not candidate or not live:
        return []
    figures = {name: by(samples, "release") for name, samples in found.items()}
    kind = "shadow" if candidate["shadow"] and not candidate["percent"] else "canary"
    made = []
    for name, release in (("live", live["id"]), (kind, candidate["release"]["id"])):
        own = {figure: values.get((release,)) for figure, values in figures.items()}
        latency = {f"p{100 * part:g}": own.get(f"p{100 * part:g}") for part in SHARES}
        requests = own.get("requests")
        made.append(Side(name, release, requests, share(own.get("failed"), requests), latency))
    return made


def answers(fleet: Fleet, found: Found) -> list[Answers]:
    """Return what each model answered on both sides, with how far they are from each other."""
    if not fleet["candidate"] or not fleet["live"]:
        return []
    pair = (fleet["live"]["id"], fleet["candidate"]["release"]["id"])
    counts = _counts(found)
    made = []
    for model, output in sorted({(model, output) for _, model, output in counts}):
        both = [counts.get((release, model, output), {}) for release in pair]
        labels = sorted(set(both[0]) | set(both[1]), key=_order)
        live, candidate = ([side.get(label, 0.0) for label in labels] for side in both)
        rows = sum(live), sum(candidate)
        parts = [[value / max(sum(side), 1e-9) for value in side] for side in (live, candidate)]
        picture = bars(f"{model}, {output}: live and candidate", labels, parts, numbers.percent)
        made.append(Answers(model, output, picture, score(candidate, live), rows))
    return made


def _counts(found: Found) -> dict[tuple[str, str, str], dict[str, float]]:
    """Return counts by label of a class or bin, by release, model and output."""
    counts: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for sample in found.get("classes", ()):
        counts[_key(sample.labels)][sample.labels.get("class", "")] = sample.value
    cumulative: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for sample in found.get("values", ()):
        cumulative[_key(sample.labels)].append((float(sample.labels.get("le", "inf")), sample.value))
    for key, pairs in cumulative.items():
        below = 0.0
        for bound, value in sorted(pairs):
            counts[key][f"<={bound:g}"] = max(0.0, value - below)
            below = value
    return counts


def _key(labels: Mapping[str, str]) -> tuple[str, str, str]:
    return labels.get("release", ""), labels.get("model", ""), labels.get("output", "")


def _order(label: str) -> tuple[float, str]:
    """Order bins by their bounds, and classes by their names."""
    try:
        return float(label.removeprefix("<=")), ""
    except ValueError:
        return 0.0, label

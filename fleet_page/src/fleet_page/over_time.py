"""How the fleet has been: requests, failures and latency over time, by model, release or node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet_page import numbers, queries
from fleet_page.charts import Chart, Curve, Mark, curves, named
from fleet_page.facts import Fleet, Models
from fleet_page.prometheus import Series, Window
from fleet_page.queries import Range, matchers, quantile, recorded, total

BY = {"model": "model", "release": "release", "node": "endpoint"}
"""What curves may be split by, and the label that tells it."""

SLOWEST = f"topk(6, {queries.NOW['p95']})"
"""The query for the nodes that are shown where none was chosen."""

NO_REQUESTS = (
    "No request was counted in this time. Choose a longer time, or send one: it is shown after two minutes."
)
NO_RETRY = "Nothing was refused or tried again in this time."


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person chose to see."""

    over: Range
    by: str
    only: str
    """The one model, release or node that is shown; empty for all."""


def asked(arguments: Mapping[str, str]) -> Asked:
    by = arguments.get("by", "model")
    return Asked(
        queries.chosen(arguments.get("range", "")),
        by if by in BY else "model",
        arguments.get("only", "")[:100],
    )


def texts(chosen: Asked, nodes: Sequence[str]) -> dict[str, str]:
    """Return the queries of the view's curves."""
    over, label = chosen.over, BY[chosen.by]
    on_nodes = chosen.by == "node"
    requests, times = (
        ("endpoint_requests", "endpoint_request_seconds") if on_nodes else ("requests", "request_seconds")
    )
    values = [chosen.only] if chosen.only else list(nodes) if on_nodes else []
    labels: dict[str, str | Sequence[str]] = {label: values} if values else {}
    made = {
        "requests": total([label], recorded(requests, over, matchers(**labels))),
        "failed": queries.failed([label], requests, over, **labels),
        "refusals": total(["reason"], recorded("refusals", over)),
        "retries": f"sum({recorded('retries', over)})",
    }
    for share in queries.SHARES:
        made[f"p{100 * share:g}"] = quantile(share, [label], recorded(times, over, matchers(**labels)))
    return made


def charts(
    chosen: Asked, found: Mapping[str, Sequence[Series]], window: Window, marks: Sequence[Mark]
) -> list[Chart]:
    """Draw what Prometheus answered."""
    label = BY[chosen.by]
    other = {"model": "no model", "release": "no release", "node": "no node"}[chosen.by]

    def drawn(title: str, name: str, shown: numbers.Format, empty: str = NO_REQUESTS) -> Chart:
        return curves(title, named(found.get(name, ()), label, other), window, shown, marks, empty)

    refused = [*named(found.get("refusals", ()), "reason"), *_named_retries(found.get("retries", ()))]
    refused = [curve for curve in refused if any(value for _, value in curve.points)]
    return [
        drawn("Requests a second", "requests", numbers.rate),
        drawn("Failures (5xx), share of the requests", "failed", numbers.percent),
        drawn("Latency, p50", "p50", numbers.seconds),
        drawn("Latency, p95", "p95", numbers.seconds),
        drawn("Latency, p99", "p99", numbers.seconds),
        curves("Refusals by reason, and retries", refused, window, numbers.rate, marks, NO_RETRY),
    ]


def _named_retries(series: Sequence[Series]) -> list[Curve]:
    return [Curve("tried again", entry.points) for entry in series]


def choices(fleet: Fleet | None, models: Models, by: str) -> list[str]:
    """Return what may be chosen alone."""
    if fleet is None:
        return []
    if by == "node":
        return [node["name"] for node in fleet["nodes"]]
    if by == "model":
        return [model["name"] for model in models["models"]]
    releases = [fleet["live"], fleet["candidate"] and fleet["candidate"]["release"], *fleet["previous"]]
    return [release["id"] for release in releases if release]

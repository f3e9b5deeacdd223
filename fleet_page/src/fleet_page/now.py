"""What the fleet is like now: what is live, and each node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet_page import numbers
from fleet_page.facts import Fleet, Node, Release, Run
from fleet_page.prometheus import Sample

Found = Mapping[str, Sequence[Sample]]
"""What Prometheus answered, by the query's name; empty where it is away."""

PUT_LIVE = ("released", "rolled back")
"""The results of runs that made a release live."""

STATES = {
    "up": ("●", "up"),
    "silent": ("◌", "no answer"),
    "down": ("✖", "down"),
    "drained": ("▲", "drained"),
    "not in the traffic": ("○", "no traffic"),
}
"""A sign and words for each state, so that no state is told by its hue alone."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node with what Prometheus knows of it, None where that is nothing."""

    name: str
    machine: str
    slot: str
    release: str
    weight: float
    state: str
    reason: str
    since: float
    requests: float | None = None
    failed: float | None = None
    p95: float | None = None
    drift: float | None = None
    memory: float | None = None
    limit: float | None = None

    @property
    def sign(self) -> str:
        return STATES.get(self.state, ("○", ""))[0]

    @property
    def words(self) -> str:
        return STATES.get(self.state, ("", self.state))[1]


@dataclass(frozen=True, slots=True)
class BalancerRow:
    name: str
    state: str
    holds: bool
    version: str
    in_flight: float | None
    connections: float | None
    certificate: float | None


@dataclass(frozen=True, slots=True)
class Totals:
    requests: float | None
    failed: float | None
    p95: float | None
    states: dict[str, int]
    lock: float | None
    """Since when a run holds the deploy lock, None where none does or nobody knows."""
    differences: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person chose to see, and in which order."""

    words: str
    state: str
    sort: str
    descending: bool


COLUMNS = {
    "name": "Node",
    "state": "State",
    "release": "Release",
    "slot": "Slot",
    "weight": "Weight",
    "requests": "Requests",
    "failed": "Failures",
    "p95": "p95",
    "drift": "Drift",
    "memory": "Memory",
}
"""The table's columns, by what it can be sorted by."""

WORST_FIRST = frozenset({"weight", "requests", "failed", "p95", "drift", "memory"})
"""The columns whose first sorting has the highest value first."""


def by(samples: Sequence[Sample], *labels: str) -> dict[tuple[str, ...], float]:
    """Return the values of samples by their labels."""
    return {tuple(sample.labels.get(label, "") for label in labels): sample.value for sample in samples}


def only(found: Found, name: str) -> float | None:
    """Return the one value of an answer, None where there is none."""
    return next((sample.value for sample in found.get(name, ())), None)


def share(part: float | None, everything: float | None) -> float | None:
    return (part or 0) / everything if everything else None


def rows(fleet: Fleet, found: Found) -> list[NodeRow]:
    """Return a row for each node, in the inventory's order."""
    names = ("requests", "failed", "p95", "drift")
    figures = {name: by(found.get(name, ()), "endpoint") for name in names}
    slots = {name: by(found.get(name, ()), "endpoint", "slot") for name in ("memory", "limit", "up")}
    made = []
    for node in fleet["nodes"]:
        own = {name: values.get((node["name"],)) for name, values in figures.items()}
        slot = {name: values.get((node["name"], node["slot"])) for name, values in slots.items()}
        made.append(
            NodeRow(
                name=node["name"],
                machine=node["machine"],
                slot=node["slot"],
                release=node["release"],
                weight=node["weight"] * node["share"] / 100,
                state=_state(node, slot["up"]),
                reason=node["reason"],
                since=node["since"],
                requests=own["requests"],
                failed=share(own["failed"], own["requests"]),
                p95=own["p95"],
                drift=own["drift"],
                memory=slot["memory"],
                limit=slot["limit"],
            )
        )
    return made


def _state(node: Node, up: float | None) -> str:
    """Return the state that the last run left, or that the endpoint does not answer Prometheus."""
    return "silent" if node["state"] in ("up", "drained") and up == 0 else node["state"]


def shown(every: Sequence[NodeRow], choice: Choice) -> list[NodeRow]:
    """Return the rows that a person chose, in the chosen order; what nobody knows comes last."""
    words = choice.words.lower().split()
    kept = [
        row
        for row in every
        if (not choice.state or row.state == choice.state)
        and all(
            word in f"{row.name} {row.machine} {row.release} {row.slot} {row.reason}".lower()
            for word in words
        )
    ]
    known = [row for row in kept if getattr(row, choice.sort) is not None]
    known.sort(key=lambda row: getattr(row, choice.sort), reverse=choice.descending)
    return known + [row for row in kept if getattr(row, choice.sort) is None]


def choice(arguments: Mapping[str, str]) -> Choice:
    """Return what a person chose, by the page's address."""
    sort = arguments.get("sort", "name")
    sort = sort if sort in COLUMNS else "name"
    state = arguments.get("state", "")
    return Choice(
        arguments.get("q", "")[:100],
        state if state in STATES else "",
        sort,
        arguments.get("order", "") == "desc",
    )


def balancers(fleet: Fleet, found: Found) -> list[BalancerRow]:
    figures = {
        name: by(found.get(name, ()), "load_balancer")
        for name in ("in_flight", "connections", "holds", "balancer_up", "certificate")
    }
    versions = {
        sample.labels.get("load_balancer", ""): sample.labels.get("version", "")
        for sample in found.get("version", ())
    }
    made = []
    for balancer in fleet["load_balancers"]:
        own = {name: values.get((balancer["name"],)) for name, values in figures.items()}
        state = {None: "", 0.0: "silent"}.get(own["balancer_up"], "up")
        made.append(
            BalancerRow(
                balancer["name"],
                state,
                own["holds"] == 1,
                versions.get(balancer["name"], ""),
                own["in_flight"],
                own["connections"],
                own["certificate"],
            )
        )
    return made


def totals(every: Sequence[NodeRow], found: Found) -> Totals:
    requests = only(found, "all_requests")
    states = {state: sum(row.state == state for row in every) for state in STATES}
    return Totals(
        requests=requests,
        failed=share(only(found, "all_failed"), requests),
        p95=only(found, "all_p95"),
        states={state: count for state, count in states.items() if count},
        lock=only(found, "lock") or None,
        differences=only(found, "differences"),
    )


def put_live(fleet: Fleet, release: Release | None) -> Run | None:
    """Return the last run that made a release live, None where the log no longer has it."""
    live = release["id"] if release else ""
    return next((run for run in fleet["runs"] if run["live"] == live and run["result"] in PUT_LIVE), None)


def who(run: Run | None) -> str:
    return f"{run['user']}@{run['controller']}" if run else numbers.NONE

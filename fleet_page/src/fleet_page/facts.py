"""What runs left about the fleet, in two files: plugin_utils/monitoring/fleet_facts.py makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NotRequired, TypedDict, cast

FORMAT = 1


class Run(TypedDict):
    """A line of the audit log."""

    time: str
    started: str
    """Empty where an earlier version wrote the line."""
    user: str
    controller: str
    playbook: str
    node: str
    result: str
    live: str
    message: str


class Release(TypedDict):
    """A release, and in what it differs from the one before it."""

    id: str
    image: str
    since: float
    changed: list[str]
    given: list[str]
    """The settings that the run was given by -e."""


class Candidate(TypedDict):
    """A release that takes a share of the requests or copies of them, in percent."""

    release: Release
    percent: float
    shadow: float
    nodes: list[str]


class Node(TypedDict):
    name: str
    machine: str
    address: str
    slot: str
    release: str
    weight: int
    share: int
    state: str
    """up, down, drained, or that it is not in the traffic."""
    reason: str
    since: float


class Balancer(TypedDict):
    name: str
    machine: str


class Feature(TypedDict):
    """A column that a model reads, as its card has it."""

    name: str
    type: str
    minimum: NotRequired[float]
    maximum: NotRequired[float]
    missing: NotRequired[bool]
    categories: NotRequired[list[str | int | float | bool]]
    unknown: NotRequired[str]


class Spread(TypedDict):
    """How the training data, or the answers to it, spread over bins."""

    name: str
    counts: list[int]
    lowest: NotRequired[float]
    bounds: NotRequired[list[float]]
    values: NotRequired[list[str | int | float | bool]]


class Model(TypedDict):
    """What the live release tells of a model."""

    name: str
    version: str
    description: str
    features: list[Feature]
    outputs: list[str]
    classes: list[str]
    metrics: dict[str, float]
    kind: str
    """What serves it."""
    not_compiled: str
    """Why it is not served in a compiled form; empty where it is."""
    proof: dict[str, float]
    golden: int
    """How many golden requests it has."""
    training: str
    """The hash of its training data."""
    columns: list[Spread]
    answers: list[Spread]


class Fleet(TypedDict):
    """The file's content. Times are seconds since the epoch."""

    format: int
    time: float
    live_slot: str
    live: Release | None
    candidate: Candidate | None
    previous: list[Release]
    nodes: list[Node]
    load_balancers: list[Balancer]
    runs: list[Run]
    """The last first."""


class Models(TypedDict):
    """The other file's content: what the models of a release say about themselves."""

    format: int
    release: str
    models: list[Model]


NO_MODELS: Models = {"format": FORMAT, "release": "", "models": []}


class NoFactsError(Exception):
    """There is no file, or it is not as this page needs it; the message says what to do."""


def read_fleet(folder: Path) -> Fleet:
    """Return what the last run left of the fleet in `folder`. Raises NoFactsError."""
    return cast(Fleet, _read(folder / "fleet.json"))


def read_models(folder: Path) -> Models:
    """Return what the last run that could read them left of the models. Raises NoFactsError."""
    return cast(Models, _read(folder / "models.json"))


def _read(path: Path) -> Mapping[str, object]:
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NoFactsError(f"No run has left {path} yet. Run site.yml.") from None
    except (OSError, ValueError) as error:
        raise NoFactsError(f"{path} can't be read: {error}. Run site.yml, which writes it anew.") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        told = found.get("format") if isinstance(found, dict) else None
        raise NoFactsError(
            f"{path} has the format {told}, and this page reads {FORMAT}. Run site.yml of one version for all."
        )
    return found

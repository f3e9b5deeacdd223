"""Runs on the controller: what the endpoints of a release answered between two readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict


class OutputCounts(TypedDict):
    """How many requests an output answered, by `classes` or by `bounds`, as the endpoint counts them.

    Classes have three counts more, together for what is none of them. Numbers have a count below each bound, one from
    the last bound on, and one for what is no number.
    """

    classes: NotRequired[list[str]]
    bounds: NotRequired[list[float]]
    counts: list[int]


Answers = Mapping[str, Mapping[str, OutputCounts]]
"""Counts by model and output. A model that counts no answers has no outputs."""


class Reading(TypedDict):
    """What module endpoint_answers read from one endpoint; `error` says why it read nothing."""

    name: str
    slot: str
    release: str
    start: float
    models: Answers
    error: str


@dataclass
class Sums:
    """The answers of one release, added up over its endpoints; `left_out` has those that are not counted, by reason."""

    models: dict[str, dict[str, OutputCounts]] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)


def answers_between(begun: Sequence[Reading], now: Sequence[Reading], slot: str, release: str) -> Sums:
    """Return what the endpoints of `release`, in `slot`, answered between two readings.

    An endpoint that was not read twice, or began anew in between, is left out altogether: what is left is a random part
    of the release's requests, from the same time as the other release's.
    """
    before = {reading["name"]: reading for reading in begun if reading["slot"] == slot}
    sums = Sums()
    for reading in now:
        if reading["slot"] != slot:
            continue
        earlier = before.get(reading["name"])
        if fault := _fault(earlier, reading, release):
            sums.left_out.setdefault(fault, []).append(reading["name"])
            continue
        assert earlier is not None
        for model, outputs in reading["models"].items():
            own = sums.models.setdefault(model, {})
            for output, counts in outputs.items():
                _add(own, output, counts, earlier["models"][model][output])
    return sums


def _fault(earlier: Reading | None, reading: Reading, release: str) -> str:
    """Return why the answers of an endpoint can't be counted; empty when they can."""
    if earlier is None:
        return "it was not read when the bake began"
    if error := reading["error"] or earlier["error"]:
        return error
    if reading["release"] != release:
        return f"it runs release {reading['release']}"
    return "it was started during the bake" if reading["start"] != earlier["start"] else ""


def _add(own: dict[str, OutputCounts], output: str, counts: OutputCounts, earlier: OutputCounts) -> None:
    grown = [now - then for now, then in zip(counts["counts"], earlier["counts"], strict=True)]
    if output in own:
        grown = [one + more for one, more in zip(own[output]["counts"], grown, strict=True)]
    own[output] = {**counts, "counts": grown}

"""Runs on the controller: compares two releases by what they answered to the same requests.

Nginx sends a share of the requests to a second release as well. Both releases then log the request in a line with
`"shadow": true` and the answer (package model_endpoint), and the request's id joins the two.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Line = dict[str, Any]

PREDICTIONS = re.compile(r"/predict|/invocations|/v2/models/.+/infer")
"""The paths that are compared: what else a release answers tells of itself."""

OF_THE_RELEASE = frozenset({"model_version", "id"})
"""Fields of an answer that may differ."""

SHOWN = 3


@dataclass
class _Model:
    """What was found out about one model so far; latencies are in milliseconds."""

    live: list[float] = field(default_factory=list)
    candidate: list[float] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    largest: float = 0.0
    unmatched: int = 0

    def report(self) -> dict[str, Any]:
        return {
            "compared": len(self.live),
            "differ": len(self.differing),
            "largest_difference": self.largest or None,
            "live_p50": _percentile(self.live, 0.5),
            "live_p95": _percentile(self.live, 0.95),
            "candidate_p50": _percentile(self.candidate, 0.5),
            "candidate_p95": _percentile(self.candidate, 0.95),
            "unmatched": self.unmatched,
            "examples": self.differing[:SHOWN],
        }


def shadow_lines(text: str) -> list[Line]:
    """Return the lines about requests that two releases were asked, out of an endpoint's log; skip all others."""
    lines = []
    # Not splitlines, which also cuts at line separators of Unicode, and an answer may hold those.
    for text_line in text.split("\n"):
        try:
            line = json.loads(text_line)
        except ValueError:
            continue
        if isinstance(line, dict) and line.get("shadow") is True:
            lines.append(line)
    return lines


def compare_shadows(lines: Iterable[Line], live: str, candidate: str) -> dict[str, dict[str, Any]]:
    """Return how the answers of release `candidate` differ from those of `live`, by model.

    `lines` are the `shadow_lines` of all nodes. A model's entry, where "" stands for requests that no model could be
    found for:

        compared            requests both releases answered
        differ              of these, how many with another status, label, number or structure
        largest_difference  the largest absolute difference of two numbers at the same place, None if all are equal
        live_p50, live_p95, candidate_p50, candidate_p95
                            milliseconds the compared requests took, None if there are none
        unmatched           requests of which one line is missing, or several have the id, or the answer is not kept
                            as JSON (binary tensors and large ones)
        examples            ids of up to three requests that differ
    """
    requests: dict[str, tuple[list[Line], list[Line]]] = defaultdict(lambda: ([], []))
    for line in lines:
        if line["release"] in (live, candidate) and PREDICTIONS.fullmatch(line["path"]):
            requests[line["request_id"]][line["release"] == candidate].append(line)

    models: dict[str, _Model] = defaultdict(_Model)
    for request_id, (of_live, of_candidate) in requests.items():
        # A release that refuses a request may not say for which model it was.
        name = next((line["model"] for line in (*of_live, *of_candidate) if line["model"]), "")
        model = models[name]
        found = _compare(of_live[0], of_candidate[0]) if len(of_live) == len(of_candidate) == 1 else None
        if found is None:
            model.unmatched += 1
            continue
        differs, largest = found
        model.live.append(of_live[0]["milliseconds"])
        model.candidate.append(of_candidate[0]["milliseconds"])
        model.largest = max(model.largest, largest)
        if differs:
            model.differing.append(request_id)
    return {name: models[name].report() for name in sorted(models)}


def _compare(one: Line, other: Line) -> tuple[bool, float] | None:
    """Return whether two answers differ, and by how much their numbers do; None when that can't be told."""
    if one["status"] != other["status"]:
        return True, 0.0
    try:
        return _difference(_content(one), _content(other))
    except (TypeError, ValueError):
        return None


def _content(line: Line) -> Any:
    """Return what a line's answer says; raises TypeError or ValueError when it holds none in JSON."""
    content = json.loads(line["answer"])
    if isinstance(content, dict):
        return {name: value for name, value in content.items() if name not in OF_THE_RELEASE}
    return content


def _difference(one: Any, other: Any) -> tuple[bool, float]:
    """Return whether two JSON values differ, and the largest absolute difference of numbers at the same place."""
    if _is_number(one) and _is_number(other):
        return one != other, abs(one - other)
    if isinstance(one, dict) and isinstance(other, dict):
        differs = one.keys() != other.keys()
        parts = [_difference(one[name], other[name]) for name in one.keys() & other.keys()]
    elif isinstance(one, list) and isinstance(other, list):
        differs = len(one) != len(other)
        parts = [_difference(*pair) for pair in zip(one, other, strict=False)]
    else:
        # To Python, True is 1.
        return type(one) is not type(other) or one != other, 0.0
    differs = differs or any(part_differs for part_differs, _ in parts)
    return differs, max((largest for _, largest in parts), default=0.0)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest of `values` that `share` of them do not exceed, None for no values."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else None

"""Runs on the controller: whether a release answers differently from the live one, and in what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.answers.chance import level, probability
from ansible_collections.flotilla.fleet.plugins.plugin_utils.answers.counts import OutputCounts, Sums

PLACES = 16
"""Numbers are compared at the bounds that part them into about so many parts of the same size."""
QUANTILES = (0.1, 0.5, 0.9)
SHOWN = 8
"""So many classes, and so many endpoints that are not counted, are shown."""


@dataclass(frozen=True)
class Allowance:
    """How far the answers may differ: by `points` percentage points, or by what chance may do in so many `readings`."""

    points: float
    min_requests: int
    readings: int


class Compared(TypedDict):
    """Both distributions in words, and in what the release differs more than it may; `fault` is empty for nothing."""

    lines: list[str]
    fault: str


@dataclass(frozen=True)
class Part:
    """A part of the answers that an output may give, and how many requests each release answered so."""

    words: str
    live: int
    candidate: int


@dataclass(frozen=True)
class Pair:
    """The counts of an output that both releases have."""

    name: str
    live: OutputCounts
    candidate: OutputCounts

    @property
    def of_live(self) -> int:
        return sum(self.live["counts"])

    @property
    def of_candidate(self) -> int:
        return sum(self.candidate["counts"])

    @property
    def parts(self) -> list[Part]:
        """The parts that are compared. Which they are depends on the answers of both releases together alone."""
        if "classes" in self.live:
            return list(_classes(self.live, self.candidate))
        return list(_numbers(self.live, self.candidate))


def compare(live: Sums, candidate: Sums, allowance: Allowance) -> Compared:
    """Compare the answers of two releases to requests of the same time."""
    read = live.models and candidate.models
    pairs, lines = _pairs(live, candidate, allowance.min_requests) if read else ([], [])
    tests = allowance.readings * sum(len(pair.parts) for pair in pairs)
    faults = [fault for pair in pairs if (fault := _fault(pair, allowance.points, level(tests)))]
    if not read:
        lines.append("answers are not judged: they could not be read from both releases")
    for sums, words in ((live, "live"), (candidate, "new")):
        left_out = [f"{_some(names)}: {reason}" for reason, names in sums.left_out.items()]
        lines += [f"not counted of the {words} release: {_some(left_out, '; ')}"] if left_out else []
    said = "; ".join(faults)
    if faults:
        said += (
            f": more than the {allowance.points:g} points that are allowed (release_watch_answers), and more than "
            "chance does. If the release is to answer differently, run with -e release_watch_answers=100"
        )
    return {"lines": [*map(_line, pairs), *lines], "fault": said}


def _pairs(live: Sums, candidate: Sums, least: int) -> tuple[list[Pair], list[str]]:
    """Return the outputs that can be judged, and of each model that can't be, why."""
    pairs, notes = [], []
    for model in sorted({*live.models, *candidate.models}):
        one, other = live.models.get(model), candidate.models.get(model)
        reason = _not_comparable(one, other)
        if not reason and one and other:
            found = [
                Pair(model if len(other) == 1 else f"{model}, {name}", one[name], other[name])
                for name in other
            ]
            asked, before = found[0].of_candidate, found[0].of_live
            if min(asked, before) >= least:
                pairs += found
                continue
            reason = (
                f"the release was asked {asked} times, the live one {before} times, and {least} each "
                "(release_watch_min_requests) make a judgement"
            )
        notes.append(f"answers of {model} are not judged: {reason}")
    return pairs, notes


def _not_comparable(
    live: Mapping[str, OutputCounts] | None, candidate: Mapping[str, OutputCounts] | None
) -> str:
    """Return why the answers of a model can't be compared; empty when they can."""
    if live is None or candidate is None:
        return f"the {'live' if live is None else 'new'} release does not have the model"
    if not live or not candidate:
        where = "the live" if candidate else "the new" if live else "either"
        return f"the bundle in {where} release has no distribution of its predictions"
    if live.keys() != candidate.keys():
        return f"its outputs are {', '.join(candidate)}, and were {', '.join(live)}"
    if any(("classes" in live[name]) != ("classes" in candidate[name]) for name in live):
        return "it answers classes in one release and numbers in the other"
    return ""


def _classes(live: OutputCounts, candidate: OutputCounts) -> Iterator[Part]:
    """Yield a part for each class, most frequent first.

    A class that only one release names is among the others of the other one, or not answered at all: how often it is
    there is not known, so the number that differs least is taken.
    """
    mine, before = _named(candidate), _named(live)
    others, others_before = _rest(candidate), _rest(live)
    asked, asked_before = sum(candidate["counts"]), sum(live["counts"])
    parts = []
    for label in {**before, **mine}:
        now, then = mine.get(label), before.get(label)
        if now is None:
            now = min(others, round((then or 0) / max(1, asked_before) * asked))
        if then is None:
            then = min(others_before, round(now / max(1, asked) * asked_before))
        parts.append(Part(label, then, now))
    if mine.keys() == before.keys() and others + others_before:
        parts.append(Part("other classes", others_before, others))
    yield from sorted(parts, key=lambda part: -(part.live + part.candidate))


def _named(counts: OutputCounts) -> dict[str, int]:
    return dict(zip(counts["classes"], counts["counts"], strict=False))


def _rest(counts: OutputCounts) -> int:
    return sum(counts["counts"][len(counts["classes"]) :])


def _numbers(live: OutputCounts, candidate: OutputCounts) -> Iterator[Part]:
    """Yield a part below each of some bounds that both releases have, and one of what is no number."""
    before, mine = _below(live), _below(candidate)
    common = [bound for bound in mine if bound in before]
    every = sum(live["counts"]) + sum(candidate["counts"])
    chosen = set()
    for place in range(1, PLACES):
        wanted = every * place / PLACES
        chosen.add(min(common, key=lambda bound: abs(before[bound] + mine[bound] - wanted), default=None))
    for bound in common:
        if bound in chosen:
            yield Part(f"less than {_short(bound)}", before[bound], mine[bound])
    if live["counts"][-1] + candidate["counts"][-1]:
        yield Part("no number", live["counts"][-1], candidate["counts"][-1])


def _below(counts: OutputCounts) -> dict[float, int]:
    """Return for each bound how many answers are below it."""
    return dict(zip(counts["bounds"], accumulate(counts["counts"]), strict=False))


def _fault(pair: Pair, points: float, chance: float) -> str:
    """Return in what an output differs more than it may, empty for nothing: in what grew most, beyond `chance`."""
    found = []
    for part in pair.parts:
        before, now = part.live / pair.of_live, part.candidate / pair.of_candidate
        likely = probability(part.candidate, pair.of_candidate, part.live, pair.of_live)
        if likely <= chance and round(100 * abs(now - before), 6) > points:
            found.append((now < before, likely, part.words, now, before))
    if not found:
        return ""
    _, _, words, now, before = min(found)
    return (
        f"{pair.name} answered {words} to {_percent(now)} of {pair.of_candidate} requests, against "
        f"{_percent(before)} of {pair.of_live} by the live release"
    )


def _some(texts: Sequence[str], between: str = ", ") -> str:
    """Return the first of some texts, and how many more there are."""
    more = [f"{len(texts) - SHOWN} more"] if len(texts) > SHOWN else []
    return between.join([*texts[:SHOWN], *more])


def _line(pair: Pair) -> str:
    """Return both distributions of an output in words."""
    sizes = f"{pair.of_candidate} requests (before: {pair.of_live})"
    if "bounds" in pair.live:
        now, before = _quantiles(pair.candidate), _quantiles(pair.live)
        return f"answers of {pair.name} to {sizes}: {now} (before: {before})"
    shares = [
        f"{part.words} {_percent(part.candidate / pair.of_candidate)} (before: {_percent(part.live / pair.of_live)})"
        for part in pair.parts
    ]
    return f"answers of {pair.name} to {sizes}: {_some(shares)}"


def _quantiles(counts: OutputCounts) -> str:
    """Return below which bounds some shares of the numbers are."""
    below, every = _below(counts), sum(counts["counts"])
    return ", ".join(
        f"{share:.0%} below ".replace("%", " %") + _first(below, share * every) for share in QUANTILES
    )


def _first(below: Mapping[float, int], wanted: float) -> str:
    found: Sequence[float] = [bound for bound, number in below.items() if number >= wanted]
    return _short(found[0]) if found else "infinity"


def _short(bound: float) -> str:
    return f"{bound:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"

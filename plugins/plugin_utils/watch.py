"""Runs on the controller: judges a release by the answers it gives, beside those of the release before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypedDict

STEP = 1.02
"""Bucket n of a histogram holds requests of 1.02^n to 1.02^(n+1) milliseconds (see module access_log)."""


class SlotCounts(TypedDict):
    """What an access log says of one slot: numbers of requests, of 5xx among them, and of requests by bucket."""

    requests: int
    failures: int
    histogram: dict[str, int]


class EndpointCounts(TypedDict):
    """What an access log says of one endpoint; `last` is the time of the last answer, since the epoch."""

    requests: int
    failures: int
    last: float


class Sample(TypedDict):
    """What module access_log counts; `releases` are numbers of requests."""

    slots: dict[str, SlotCounts]
    endpoints: dict[str, EndpointCounts]
    releases: dict[str, int]


class Limits(TypedDict):
    """How much worse than the release before a release may do, and how many requests make a judgement."""

    min_requests: int
    failure_points: float
    """Percentage points that the share of 5xx may be above the other's."""
    p95_factor: float
    """Times the other's 95th percentile."""
    p95_floor: float
    """Seconds below which a 95th percentile is never too long."""


class Figures(TypedDict):
    """The figures of one release: the share of 5xx from 0 to 1, the 95th percentile in seconds."""

    requests: int
    failure_share: float
    p95: float


class Verdict(TypedDict):
    """How a release did: `verdict` is pass, worse or too few; `share` is its share of all requests, 0 to 1."""

    verdict: str
    reason: str
    live: Figures
    candidate: Figures
    share: float


NO_REQUESTS: SlotCounts = {"requests": 0, "failures": 0, "histogram": {}}


def merge_samples(samples: Iterable[Sample]) -> Sample:
    """Return the samples of several load balancers as one, whose counts are their sums."""
    merged: Sample = {"slots": {}, "endpoints": {}, "releases": {}}
    for sample in samples:
        for slot, counts in sample["slots"].items():
            of_slot = merged["slots"].setdefault(slot, {"requests": 0, "failures": 0, "histogram": {}})
            of_slot["requests"] += counts["requests"]
            of_slot["failures"] += counts["failures"]
            for bucket, number in counts["histogram"].items():
                of_slot["histogram"][bucket] = of_slot["histogram"].get(bucket, 0) + number
        for endpoint, answers in sample["endpoints"].items():
            own = merged["endpoints"].setdefault(endpoint, {"requests": 0, "failures": 0, "last": 0.0})
            own["requests"] += answers["requests"]
            own["failures"] += answers["failures"]
            own["last"] = max(own["last"], answers["last"])
        for release, number in sample["releases"].items():
            merged["releases"][release] = merged["releases"].get(release, 0) + number
    return merged


def percentile(histogram: Mapping[str, int], share: float) -> float:
    """Return the upper end, in seconds, of the bucket below which `share` of the requests are; 0.0 without any."""
    left = share * sum(histogram.values())
    for bucket, number in sorted((int(bucket), number) for bucket, number in histogram.items()):
        left -= number
        if left <= 0:
            return float(STEP ** (bucket + 1)) / 1000
    return 0.0


def figures(counts: SlotCounts) -> Figures:
    """Return the figures of what an access log counts of one slot."""
    requests = counts["requests"]
    return {
        "requests": requests,
        "failure_share": counts["failures"] / requests if requests else 0.0,
        "p95": percentile(counts["histogram"], 0.95),
    }


def judge(
    samples: Iterable[Sample], limits: Limits, live: str, candidate: str, before: Sample | None
) -> Verdict:
    """Judge slot `candidate` beside slot `live`, by what the load balancers' logs say.

    `before` is an earlier sample that stands for `live` where `live` no longer takes traffic, else None.
    """
    now = merge_samples(samples)["slots"]
    of_candidate, of_live = now.get(candidate, NO_REQUESTS), now.get(live, NO_REQUESTS)
    new = figures(of_candidate)
    old = figures(before["slots"].get(live, NO_REQUESTS) if before else of_live)
    asked = new["requests"] + of_live["requests"]
    least = int(limits["min_requests"])
    reasons = _faults(of_candidate, old, new, limits)
    if reasons:
        verdict, reason = "worse", "; ".join(reasons)
    elif new["requests"] < least:
        verdict = "too few"
        reason = (
            f"it was asked {new['requests']} times, and {least} (release_watch_min_requests) make a judgement"
        )
    else:
        verdict = "pass"
        reason = (
            f"{new['requests']} answers, {100 * new['failure_share']:.1f} % of them 5xx (before: "
            f"{100 * old['failure_share']:.1f} %), p95 {1000 * new['p95']:.0f} ms (before: "
            f"{1000 * old['p95']:.0f} ms)"
        )
    return {
        "verdict": verdict,
        "reason": reason,
        "live": old,
        "candidate": new,
        "share": new["requests"] / asked if asked else 0.0,
    }


def _faults(counts: SlotCounts, old: Figures, new: Figures, limits: Limits) -> list[str]:
    """Return in which respects the release with these `counts` does worse than the limits allow."""
    least, failures = int(limits["min_requests"]), counts["failures"]
    # So many failures are too many even if every request up to the least number goes well from here on. Rounded,
    # since 100 * (0.07 - 0.06) is more than 1.
    points = round(100 * (failures / max(new["requests"], least, 1) - old["failure_share"]), 6)
    faults = []
    if points > float(limits["failure_points"]):
        faults.append(
            f"{failures} of its {new['requests']} answers were 5xx ({100 * new['failure_share']:.1f} %), against "
            f"{100 * old['failure_share']:.1f} % before; {float(limits['failure_points']):g} points more are allowed"
        )
    longest = max(float(limits["p95_factor"]) * old["p95"], float(limits["p95_floor"]))
    if new["requests"] >= least and old["requests"] and new["p95"] > longest:
        faults.append(
            f"its p95 is {1000 * new['p95']:.0f} ms, against {1000 * old['p95']:.0f} ms before; "
            f"{1000 * longest:.0f} ms are allowed"
        )
    return faults

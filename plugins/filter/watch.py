"""Judges a release by the answers it gives, beside those of the release before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

STEP = 1.02
"""Bucket n of a histogram holds requests of 1.02^n to 1.02^(n+1) milliseconds (see module access_log)."""

NOTHING: Mapping[str, Any] = {"requests": 0, "failures": 0, "histogram": {}}

Sample = dict[str, Any]


def merge_samples(samples: Iterable[Mapping[str, Any]]) -> Sample:
    """Return the samples of several load balancers as one, whose counts are their sums."""
    merged: Sample = {"slots": {}, "endpoints": {}, "releases": {}}
    for sample in samples:
        for slot, counts in sample["slots"].items():
            own = merged["slots"].setdefault(slot, {"requests": 0, "failures": 0, "histogram": {}})
            own["requests"] += counts["requests"]
            own["failures"] += counts["failures"]
            for place, number in counts["histogram"].items():
                own["histogram"][place] = own["histogram"].get(place, 0) + number
        for endpoint, counts in sample["endpoints"].items():
            own = merged["endpoints"].setdefault(endpoint, {"requests": 0, "failures": 0, "last": 0.0})
            own["requests"] += counts["requests"]
            own["failures"] += counts["failures"]
            own["last"] = max(own["last"], counts["last"])
        for release, number in sample["releases"].items():
            merged["releases"][release] = merged["releases"].get(release, 0) + number
    return merged


def percentile(histogram: Mapping[str, int], share: float) -> float:
    """Return the upper end, in seconds, of the bucket below which `share` of the requests are; 0.0 without any."""
    left = share * sum(histogram.values())
    for place, number in sorted((int(place), number) for place, number in histogram.items()):
        left -= number
        if left <= 0:
            return float(STEP ** (place + 1)) / 1000
    return 0.0


def _figures(counts: Mapping[str, Any]) -> dict[str, Any]:
    requests = counts["requests"]
    return {
        "requests": requests,
        "failure_share": counts["failures"] / requests if requests else 0.0,
        "p95": percentile(counts["histogram"], 0.95),
    }


def judge(
    samples: Iterable[Mapping[str, Any]],
    limits: Mapping[str, Any],
    live: str,
    candidate: str,
    baseline: Mapping[str, Any],
) -> dict[str, Any]:
    """Judge slot `candidate` beside slot `live`, by what the load balancers' logs say.

    `limits` has min_requests, failure_points (percentage points that the share of 5xx may be above the other's),
    p95_factor (times the other's 95th percentile) and p95_floor (seconds below which it is never too long).
    `baseline` is an earlier sample that stands for `live` where it no longer takes traffic, else empty.

    The answer: verdict ("pass", "worse" or "too few"), reason (a line with the figures), live and candidate
    (requests, failure_share, p95 in seconds), and share (the candidate's of all requests, 0 to 1).
    """
    now = merge_samples(samples)["slots"]
    before = (baseline["slots"] if baseline else now).get(live, NOTHING)
    old, new = _figures(before), _figures(now.get(candidate, NOTHING))
    asked = new["requests"] + now.get(live, NOTHING)["requests"]
    least = int(limits["min_requests"])
    # So many failures are too many even if every request up to the least number went well from here on.
    failures = now.get(candidate, NOTHING)["failures"]
    # Rounded, since 100 * (0.07 - 0.06) is more than 1.
    points = round(100 * (failures / max(new["requests"], least, 1) - old["failure_share"]), 6)
    reasons = []
    if points > float(limits["failure_points"]):
        reasons.append(
            f"{failures} of its {new['requests']} answers were 5xx ({100 * new['failure_share']:.1f} %), against "
            f"{100 * old['failure_share']:.1f} % before; {float(limits['failure_points']):g} points more are allowed"
        )
    longest = max(float(limits["p95_factor"]) * old["p95"], float(limits["p95_floor"]))
    if new["requests"] >= least and old["requests"] and new["p95"] > longest:
        reasons.append(
            f"its p95 is {1000 * new['p95']:.0f} ms, against {1000 * old['p95']:.0f} ms before; "
            f"{1000 * longest:.0f} ms are allowed"
        )
    figures = {"live": old, "candidate": new, "share": new["requests"] / asked if asked else 0.0}
    if reasons:
        return {"verdict": "worse", "reason": "; ".join(reasons), **figures}
    if new["requests"] < least:
        reason = (
            f"it was asked {new['requests']} times, and {least} (release_watch_min_requests) make a judgement"
        )
        return {"verdict": "too few", "reason": reason, **figures}
    reason = (
        f"{new['requests']} answers, {100 * new['failure_share']:.1f} % of them 5xx (before: "
        f"{100 * old['failure_share']:.1f} %), p95 {1000 * new['p95']:.0f} ms (before: "
        f"{1000 * old['p95']:.0f} ms)"
    )
    return {"verdict": "pass", "reason": reason, **figures}


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"judge": judge, "merge_samples": merge_samples}

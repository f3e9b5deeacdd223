"""A release is judged by the figures of its answers, neither too soon nor too late."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.modules import access_log
from ansible_collections.flotilla.fleet.plugins.plugin_utils import watch
from ansible_collections.flotilla.fleet.plugins.plugin_utils.watch import (
    Verdict,
    judge,
    merge_samples,
    percentile,
)

LIMITS: Any = {"min_requests": 50, "failure_points": 1.0, "p95_factor": 2.0, "p95_floor": 0.02}


def counts(requests: int, failures: int = 0, seconds: float = 0.05) -> Any:
    histogram = {str(access_log.bucket(seconds)): requests} if requests else {}
    return {"requests": requests, "failures": failures, "histogram": histogram}


def sample(**slots: Any) -> Any:
    return {"slots": slots, "endpoints": {}, "releases": {}}


def judged(*, blue: Any, green: Any) -> Verdict:
    return judge([sample(blue=blue, green=green)], LIMITS, "blue", "green", None)


def test_a_release_as_good_as_the_one_before_passes_with_its_figures() -> None:
    verdict = judged(blue=counts(300), green=counts(100))
    assert verdict["verdict"] == "pass"
    assert verdict["share"] == 0.25
    assert verdict["candidate"]["requests"] == 100
    assert verdict["candidate"]["p95"] == pytest.approx(0.05, rel=0.03)
    assert verdict["reason"].startswith("100 answers, 0.0 % of them 5xx (before: 0.0 %), p95 ")


@pytest.mark.parametrize(
    ("old", "failures", "verdict"),
    # 7 against 6 is a point more but for the last digit of a float.
    [(0, 1, "pass"), (0, 2, "worse"), (6, 7, "pass"), (10, 11, "pass"), (10, 12, "worse")],
)
def test_its_share_of_failures_is_held_against_the_one_before(old: int, failures: int, verdict: str) -> None:
    found = judged(blue=counts(100, old), green=counts(100, failures))
    assert found["verdict"] == verdict


@pytest.mark.parametrize(
    ("old", "new", "verdict"), [(0.05, 0.09, "pass"), (0.05, 0.11, "worse"), (0.001, 0.015, "pass")]
)
def test_its_p95_is_held_against_the_one_before_and_the_floor(old: float, new: float, verdict: str) -> None:
    found = judged(blue=counts(100, seconds=old), green=counts(100, seconds=new))
    assert found["verdict"] == verdict
    assert ("p95 is" in found["reason"]) == (verdict == "worse")


def test_too_few_requests_make_no_judgement() -> None:
    found = judged(blue=counts(1000), green=counts(49, seconds=5))
    assert found["verdict"] == "too few"
    assert "49 times, and 50 (release_watch_min_requests)" in found["reason"]


@pytest.mark.parametrize(("requests", "failures", "verdict"), [(1, 1, "worse"), (49, 0, "too few")])
def test_failures_that_are_too_many_whatever_follows_do_not_wait(
    requests: int, failures: int, verdict: str
) -> None:
    assert judged(blue=counts(1000), green=counts(requests, failures))["verdict"] == verdict


def test_a_failure_that_the_least_number_would_allow_is_waited_for() -> None:
    limits: Any = {**LIMITS, "failure_points": 2.0}
    found = judge([sample(blue=counts(1000), green=counts(3, 1))], limits, "blue", "green", None)
    assert found["verdict"] == "too few"


def test_a_release_that_nothing_was_asked_of_has_answered_too_few() -> None:
    found = judge([sample()], LIMITS, "blue", "green", None)
    assert (found["verdict"], found["share"]) == ("too few", 0.0)


def test_failures_and_times_are_both_named() -> None:
    found = judged(blue=counts(100), green=counts(100, 50, seconds=1))
    assert "50 of its 100 answers were 5xx (50.0 %), against 0.0 % before" in found["reason"]
    assert "p95 is" in found["reason"]


def test_a_release_without_one_before_is_judged_by_its_failures_alone() -> None:
    assert judge([sample(green=counts(100, seconds=9))], LIMITS, "blue", "green", None)["verdict"] == "pass"
    assert judge([sample(green=counts(100, 9))], LIMITS, "blue", "green", None)["verdict"] == "worse"


def test_a_baseline_stands_for_a_slot_without_traffic() -> None:
    found = judge(
        [sample(green=counts(100, 10))],
        LIMITS,
        "blue",
        "green",
        sample(blue=counts(200, 20), green=counts(1)),
    )
    assert found["verdict"] == "pass"
    assert (found["live"]["requests"], found["share"]) == (200, 1.0)


def test_limits_may_be_text_as_from_the_command_line() -> None:
    limits: Any = {name: str(value) for name, value in LIMITS.items()}
    found = judge([sample(blue=counts(9), green=counts(60))], limits, "blue", "green", None)
    assert found["verdict"] == "pass"


def test_what_two_load_balancers_saw_is_judged_as_one() -> None:
    one = sample(blue=counts(100), green=counts(30))
    two = sample(blue=counts(140), green=counts(30, 3))
    found = judge([one, two], LIMITS, "blue", "green", None)
    assert (found["verdict"], found["share"]) == ("worse", 0.2)
    assert "3 of its 60 answers were 5xx" in found["reason"]
    assert judge([one], LIMITS, "blue", "green", None)["verdict"] == "too few"


def test_samples_are_added_up() -> None:
    one: Any = {
        "slots": {"blue": counts(10, 1)},
        "endpoints": {"node1": {"requests": 10, "failures": 1, "last": 5.0}},
        "releases": {"abc": 10},
    }
    two: Any = {
        "slots": {"blue": counts(20, 2), "green": counts(3)},
        "endpoints": {"node1": {"requests": 20, "failures": 2, "last": 4.0}},
        "releases": {"abc": 20, "def": 3},
    }
    assert merge_samples([one, two]) == {
        "slots": {"blue": counts(30, 3), "green": counts(3)},
        "endpoints": {"node1": {"requests": 30, "failures": 3, "last": 5.0}},
        "releases": {"abc": 30, "def": 3},
    }
    assert one["slots"]["blue"] == counts(10, 1)
    assert merge_samples([]) == {"slots": {}, "endpoints": {}, "releases": {}}


def test_a_percentile_is_within_a_bucket_of_the_time_it_stands_for() -> None:
    histogram = {str(access_log.bucket(0.01)): 94, str(access_log.bucket(1.0)): 6}
    assert percentile(histogram, 0.5) == pytest.approx(0.01, rel=0.03)
    assert percentile(histogram, 0.95) == pytest.approx(1.0, rel=0.03)
    assert percentile({}, 0.95) == 0.0


def test_module_and_filter_agree_on_the_buckets() -> None:
    assert watch.STEP == access_log.STEP

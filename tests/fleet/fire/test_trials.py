"""A release is tried on a share of the traffic, or on copies of it, before it takes over."""

import json
import re
import time
from collections import defaultdict
from pathlib import Path

import requests

from fleet import faults
from fleet.deploy import FAILED, FINE, assert_live, deploy, live
from fleet.fleet import Fleet
from fleet.load import PREDICTION, Answer, Question, Record, under_load

CANARY_PERCENT = 20
SHARE_POINTS = 3
BAKE_SECONDS = 60
KEY = "X-Api-Key"
SPECIES = {
    "setosa": [5.1, 3.5, 1.4, 0.2],
    "versicolor": [6.4, 2.9, 4.3, 1.3],
    "virginica": [6.9, 3.1, 5.4, 2.1],
}
OF_EACH_SPECIES = [Question({"model": "iris", "instances": [row]}, [name]) for name, row in SPECIES.items()]


def test_a_canary_that_answers_5xx_is_returned(fleet: Fleet, first: str, faulty: Path) -> None:
    # So many requests that the share, which chance decides, shows to within a point.
    with under_load(fleet.urls, rate=200) as load:
        load.during(3)
        outcome = deploy(
            fleet,
            source=faulty,
            model_endpoint_log_sample=faults.FAILING,
            release_canary_percent=CANARY_PERCENT,
            release_bake_seconds=BAKE_SECONDS,
            release_watch_min_requests=450,
            release_watch_failure_points=15,
        )
        outcome.assert_ended(FAILED, "returned")
        assert_live(fleet, first, load.during(1))
    record = load.record()
    (canary,) = record.by_release().keys() - {first}
    assert {(lost.status, lost.release) for lost in record.lost} == {(500, canary)}
    began, ended = record.span(canary)
    assert ended - began < BAKE_SECONDS
    share = record.between(began, ended).release_share(canary)
    assert abs(share - CANARY_PERCENT / 100) <= SHARE_POINTS / 100


def test_a_canary_that_is_slow_is_returned(fleet: Fleet, first: str, faulty: Path) -> None:
    with under_load(fleet.urls) as load:
        load.during(3)
        outcome = deploy(
            fleet,
            source=faulty,
            model_endpoint_log_sample=faults.SLOW,
            release_canary_percent=CANARY_PERCENT,
            release_bake_seconds=BAKE_SECONDS,
        )
        outcome.assert_ended(FAILED, "returned")
        assert "p95" in outcome.verdict["message"]
        assert_live(fleet, first, load.during(1))
    record = load.record()
    record.assert_nothing_lost()
    (canary,) = record.by_release().keys() - {first}
    began, ended = record.span(canary)
    assert ended - began < BAKE_SECONDS


def test_a_canary_that_answers_differently_is_returned(fleet: Fleet, first: str, faulty: Path) -> None:
    # It is fast and answers no 5xx; half of the setosas are wrong.
    with under_load(fleet.urls, rate=200, questions=OF_EACH_SPECIES) as load:
        load.during(3)
        outcome = deploy(
            fleet,
            source=faulty,
            model_endpoint_log_sample=faults.BIASED,
            release_canary_percent=CANARY_PERCENT,
            release_bake_seconds=BAKE_SECONDS,
            release_watch_answers=5,
        )
        outcome.assert_ended(FAILED, "returned")
        assert_live(fleet, first, load.during(1))
    # Half of the setosas are called versicolor: chance decides which of the two has moved more.
    assert re.search("iris answered (setosa|versicolor) to ", outcome.verdict["message"])
    iris, *others = outcome.verdict["watched"]["answers"]
    assert re.fullmatch(
        r"answers of iris to \d+ requests \(before: \d+\): versicolor [45]\d\.\d % \(before: 3\d\.\d %\), "
        r"virginica [23]\d\.\d % \(before: 3\d\.\d %\), setosa [12]\d\.\d % \(before: 3\d\.\d %\)",
        iris,
    )
    assert "answers of penguins are not judged: the new release does not have the model" in others
    assert all(line in outcome.output for line in (iris, *others)), "the watch does not print the answers"
    record = load.record()
    (canary,) = record.by_release().keys() - {first}
    assert {(lost.status, lost.release) for lost in record.lost} == {(200, canary)}
    began, ended = record.span(canary)
    assert ended - began < BAKE_SECONDS


def test_a_canary_that_answers_as_before_goes_live(fleet: Fleet, first: str, new_model: Path) -> None:
    steps = [{"percent": CANARY_PERCENT, "bake": 10}, {"percent": 100, "bake": 0}]
    with under_load(fleet.urls, rate=200, questions=OF_EACH_SPECIES) as load:
        load.during(3)
        outcome = deploy(fleet, source=new_model, release_canary_steps=steps, release_watch_answers=5)
        outcome.assert_ended(FINE, "released")
        new = outcome.verdict["live"]
        assert_live(fleet, new, load.during(1))
        iris = outcome.verdict["watched"]["answers"][0]
        assert re.match(r"answers of iris to \d+ requests \(before: \d+\): ", iris)
        assert iris in outcome.output
        assert deploy(fleet, "playbooks/rollback.yml").verdict["live"] == first
    load.record().assert_nothing_lost()


def test_a_canary_goes_up_in_steps_by_itself(fleet: Fleet, first: str, new_model: Path) -> None:
    steps = [{"percent": 25, "bake": 5}, {"percent": 100, "bake": 2}]
    with under_load(fleet.urls) as load:
        load.during(3)
        outcome = deploy(fleet, source=new_model, release_canary_steps=steps)
        outcome.assert_ended(FINE, "released")
        new = outcome.verdict["live"]
        assert_live(fleet, new, load.during(1))
        assert deploy(fleet, "playbooks/rollback.yml").verdict["live"] == first
    record = load.record()
    record.assert_nothing_lost()
    # The load balancers begin one after the other.
    firsts: list[Answer] = []
    for url in fleet.urls:
        through = record.through(url)
        began, _ = through.span(new)
        firsts += through.between(began, began + 4).answers
    assert 0.15 < Record(firsts).release_share(new) < 0.35


def releases_asked(fleet: Fleet, headers: dict[str, str], times: int) -> set[str]:
    """Ask with these headers a few times and return which releases answer."""
    found = set()
    for number in range(times):
        url = fleet.urls[number % len(fleet.urls)]
        answer = requests.post(f"{url}/predict", json=PREDICTION, headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text
        found.add(answer.headers["X-Release"])
    return found


def test_a_canary_stays_until_it_is_promoted(
    fleet: Fleet, first: str, new_model: Path, tmp_path: Path
) -> None:
    with under_load(fleet.urls) as load:
        load.during(3)
        canary = deploy(fleet, source=new_model, release_canary_percent=50, release_canary_key=KEY)
        canary.assert_ended(FINE, "canary")
        assert live(fleet) == first
        (new,) = load.record().by_release().keys() - {first}

        # A tester asks for a release by its name.
        for release in (first, new):
            assert releases_asked(fleet, {"X-Release": release}, 6) == {release}

        # A client stays on its side, on both load balancers; of 40 not all are on the same.
        sides = defaultdict(set)
        for client in range(40):
            (side,) = releases_asked(fleet, {KEY: f"client-{client}"}, 4)
            sides[side].add(client)
        assert sides.keys() == {first, new}

        file = tmp_path / "status.json"
        assert deploy(fleet, "playbooks/status.yml", status_file=str(file)).code == FINE
        status = json.loads(file.read_text())
        assert status["candidate"] == {"release": new, "percent": 50, "shadow": 0}
        assert {(node["live"], node["staged"]) for node in status["nodes"].values()} == {(first, new)}

        deploy(fleet, "playbooks/promote.yml").assert_ended(FINE, "released")
        assert_live(fleet, new, load.during(1))
        assert deploy(fleet, "playbooks/rollback.yml").verdict["live"] == first
    load.record().assert_nothing_lost()


def test_a_shadow_is_compared_and_no_client_waits_for_it(
    fleet: Fleet, first: str, faulty: Path, tmp_path: Path
) -> None:
    with under_load(fleet.urls) as load:
        before = load.during(5)
        shadow = deploy(
            fleet, source=faulty, model_endpoint_log_sample=faults.DISAGREEING, release_shadow_percent=20
        )
        shadow.assert_ended(FINE, "shadow")
        since = time.time()
        # One client, one connection: it would wait for the copy of its last request, if anybody did.
        with requests.Session() as session:
            times = []
            for _ in range(200):
                answer = session.post(f"{fleet.url}/predict", json=PREDICTION, timeout=10)
                times.append(answer.elapsed.total_seconds())
        during = load.record().between(since)
        late = [seconds for seconds in times if seconds > 0.7 * faults.SLOW_SECONDS]
        assert len(late) < 10, f"{len(late)} of {len(times)} took as long as the shadow does"
        assert during.quantile(0.5) < before.quantile(0.5) + 0.3 * faults.SLOW_SECONDS

        file = tmp_path / "report.json"
        report = deploy(fleet, "playbooks/shadow_report.yml", report_file=str(file))
        assert report.code == FINE, report.output[-6000:]
        iris = json.loads(file.read_text())["iris"]
        assert iris["differ"] == iris["compared"] > 50
        assert iris["live_p50"] < 1000 * faults.SLOW_SECONDS <= iris["candidate_p50"]
        assert deploy(fleet, "playbooks/rollback.yml").code == FINE
        assert_live(fleet, first, load.during(1))
    load.record().assert_nothing_lost()
    assert set(load.record().by_release()) == {first}

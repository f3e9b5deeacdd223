"""API keys, a rate, and answers that don't say who gave them: settings of the load balancer alone.

The tests are one story: each starts from what the one before left.
"""

import json
import math
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import requests

from fleet.fleet import Fleet
from fleet.frontend import ACCESS_LOG, shown_of_nginx, status
from fleet.machine import wait_until
from fleet.playbook import attempt_playbook

NODES: dict[str, dict[str, int]] = {"node1": {}, "node2": {}, "node3": {}}
ALICE = "planted-alice-5f2b8c1d9e7a4036"
BOB = "planted-bob-0c7d3e9f1a5b4826"
TRIES = 2000
# A client's name is shown where its key must not be: that it is found there shows that a key would be.
NAME = "planted-name"
KEYS = {"alice": ALICE, "bob": BOB, NAME: "planted-third-8e4f6a2b0c9d1735"}
PLANTED = re.compile(r"planted-[a-z0-9-]+")


def deploy(fleet: Fleet, settings: Mapping[str, Any]) -> str:
    """Deploy with these settings of the load balancer and return all that the run wrote."""
    edited = fleet.with_nodes(NODES, {balancer.name: settings for balancer in fleet.load_balancers})
    code, output = attempt_playbook("site.yml", edited.inventory, "--diff", "-vvv")
    assert code == 0, output[-6000:]
    return output


def asked(fleet: Fleet, path: str, key: str) -> Counter[int]:
    """Ask 60 times as fast as one client can, and count the answers by status."""
    counts: Counter[int] = Counter()
    with requests.Session() as session:
        for _ in range(60):
            answer = session.get(f"{fleet.url}{path}", headers={"X-API-Key": key}, timeout=10)
            counts[answer.status_code] += 1
            if answer.status_code == 429:
                assert int(answer.headers["Retry-After"]) > 0
                assert answer.json()["error"]
    return counts


def test_the_keys_pass_through_a_run_unseen(fleet: Fleet) -> None:
    settings = {"nginx_lb_api_keys": KEYS, "nginx_lb_expose": False, "nginx_lb_quotas": {"/v2/models": 2}}
    output = deploy(fleet, settings)
    assert set(PLANTED.findall(output)) == {NAME}


def test_without_a_known_key_nothing_is_answered(fleet: Fleet) -> None:
    refused = fleet.get("/v2")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert "key" in refused.json()["error"]
    assert status(fleet, X_API_Key=ALICE[:-1]) == 401
    assert status(fleet, X_API_Key=f"{ALICE}, {ALICE}") == 401
    assert status(fleet, Authorization=f"Basic {ALICE}") == 401
    assert status(fleet, f"/v2?X-API-Key={ALICE}&api_key={ALICE}&access_token={ALICE}") == 401


def test_a_key_opens_in_either_header(fleet: Fleet) -> None:
    assert status(fleet, X_API_Key=ALICE) == 200
    assert status(fleet, Authorization=f"Bearer {BOB}") == 200
    assert status(fleet, "/metrics") == 200  # an operator's address is enough


def test_a_route_has_a_quota_of_its_own(fleet: Fleet) -> None:
    assert asked(fleet, "/v2/models/iris", ALICE).keys() == {200, 429}
    assert status(fleet, "/v2", X_API_Key=ALICE) == 200
    assert status(fleet, "/v2/models/iris", X_API_Key=BOB) == 200


def seconds_of(session: requests.Session, url: str, key: str) -> float:
    """Return the time that a request with a key takes."""
    began = time.perf_counter()
    session.get(url, headers={"X-API-Key": key}, timeout=10)
    return time.perf_counter() - began


def odds(ones: Sequence[float], others: Sequence[float]) -> float:
    """Return by how many standard deviations the ones are more often the longer than chance would have it.

    The sign test of pairs: each pair was timed at about the same time, and no outlier counts for more than one.
    """
    longer = sum(one > other for one, other in zip(ones, others, strict=True))
    return (2 * longer - len(ones)) / math.sqrt(len(ones))


def test_the_time_of_a_refusal_says_nothing_of_how_wrong_a_key_is(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    keys = {
        "first byte wrong": f"x{ALICE[1:]}",
        "last byte wrong": f"{ALICE[:-1]}x",
        "unknown": "nobody-has-this-one-0f1e2d3c4b5"[: len(ALICE)].ljust(len(ALICE), "0"),
        "right": ALICE,
    }
    times: dict[str, list[float]] = {name: [] for name in keys}
    with requests.Session() as session:
        for _ in range(TRIES // 3):
            for name in random.sample(list(keys), len(keys)):
                times[name].append(seconds_of(session, f"{fleet.url}/v2", keys[name]))
    for name, took in times.items():
        record_property(f"median_ms, {name}", round(1000 * statistics.median(took), 3))
    # A right one is passed on, which takes longer; that shows, so less of a difference would show as well.
    assert odds(times.pop("right"), times["unknown"]) > 10
    for one, other in combinations(times, 2):
        # By chance alone once in 15,000.
        assert abs(odds(times[one], times[other])) < 4, (one, other)


def test_answers_do_not_say_who_gave_them(fleet: Fleet) -> None:
    headers = fleet.get("/v2", {"X-API-Key": ALICE}).headers
    assert not {"X-Endpoint", "X-Release"} & headers.keys()
    assert headers["X-Request-Id"]


def test_the_load_balancer_knows_names_and_no_keys(fleet: Fleet) -> None:
    balancer = fleet.load_balancer
    # The log is written every second.
    wait_until(
        "the log's last line names the client",
        lambda: json.loads(balancer.run("tail", "--lines", "1", ACCESS_LOG))["client_key"] == "alice",
    )
    files = "find /etc/flotilla /var/lib/flotilla /var/log/flotilla -name registry -prune -o -type f -exec cat {} +"
    shown = shown_of_nginx(balancer, files)
    assert '"client_key":"alice"' in shown[files]
    assert set(PLANTED.findall("".join(shown.values()))) == {NAME}


def test_a_removed_key_opens_no_more_and_one_client_leaves_the_other_its_rate(fleet: Fleet) -> None:
    carol = "planted-carol-77aa5c3e1d9b4f60"
    keys = {"bob": BOB, "carol": carol}
    deploy(fleet, {"nginx_lb_api_keys": keys, "nginx_lb_rate": 5, "nginx_lb_burst": 5})
    assert status(fleet, X_API_Key=ALICE) == 401
    counts = asked(fleet, "/v2", BOB)
    assert counts.keys() == {200, 429}
    assert counts[200] < 30
    assert status(fleet, X_API_Key=carol) == 200


def test_without_keys_the_fleet_is_open_again(fleet: Fleet) -> None:
    deploy(fleet, {})
    fleet.with_nodes(NODES).assert_shares()

"""Requests, failures and times are counted in an access log, and lines of other kinds are skipped."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.request_log import ROTATED_LOGS
from ansible_collections.flotilla.fleet.plugins.modules.access_log import (
    bucket,
    count,
    recent,
)

ROOT = Path(__file__).parents[3]


def line(**fields: Any) -> str:
    entry = {
        "at": 1000.5,
        "status": 200,
        "seconds": 0.012,
        "upstream_seconds": "0.012",
        "connect_seconds": "0.000",
        "slot": "blue",
        "endpoint": "node1",
        "release": "abc",
    }
    return json.dumps({**entry, **fields}, separators=(",", ":"))


def test_requests_and_failures_are_counted_by_slot_endpoint_and_release() -> None:
    sample = count(
        [
            line(status=500, at=1002.0),
            line(),  # began first and is logged last
            line(status=429, endpoint="node2"),
            line(slot="green", release="def", endpoint="node2", status=503),
        ]
    )
    counts = {
        slot: (own["requests"], own["failures"], sum(own["histogram"].values()))
        for slot, own in sample["slots"].items()
    }
    assert counts == {"blue": (3, 1, 3), "green": (1, 1, 1)}
    assert sample["endpoints"] == {
        "node1": {"requests": 2, "failures": 1, "last": 1002.0},
        "node2": {"requests": 2, "failures": 1, "last": 1000.5},
    }
    assert sample["releases"] == {"abc": 3, "def": 1}


def test_a_request_that_no_endpoint_answered_is_a_failure_of_its_slot() -> None:
    sample = count([line(status=503, endpoint="", release="")])
    assert sample["slots"]["blue"]["failures"] == 1
    assert (sample["endpoints"], sample["releases"]) == ({}, {})


def test_a_line_of_an_nginx_that_version_0_1_configured_is_counted() -> None:
    old = line().replace('"slot"', '"colour"')
    assert '"slot"' not in old
    assert count([old, line()])["slots"]["blue"]["requests"] == 2


def test_a_request_without_a_slot_counts_for_no_slot() -> None:
    assert count([line(status=404, slot="", endpoint="", release="")])["slots"] == {}


@pytest.mark.parametrize(
    ("tries", "connections", "taken"),
    [
        ("0.512", "0.001", 0.512),
        ("0.500, 0.012", "-, 0.000", 0.012),
        ("0.500, 0.012", "0.001, 0.000", 0.512),  # it was connected, and did not answer
        ("0.250, 0.250, 0.012", "-, -, 0.000", 0.012),
        ("0.500, - : 0.012", "-, - : 0.000", 0.012),
        ("", "", 0.512),  # answered by Nginx
    ],
)
def test_time_lost_on_a_machine_that_is_dead_is_not_the_release_s(
    tries: str, connections: str, taken: float
) -> None:
    sample = count([line(seconds=0.512, upstream_seconds=tries, connect_seconds=connections)])
    assert list(sample["slots"]["blue"]["histogram"]) == [str(bucket(taken))]


@pytest.mark.parametrize(
    "other",
    [
        "",
        "2025/01/01 00:00:00 [warn] 7#7: a warning of Nginx",
        "[1, 2]",
        "{",
        "{}",
        line()[:40],
        line(status=None),
        line(seconds="-"),
        line(upstream_seconds=None),
        line(upstream_seconds="0.5, 0.1"),
        line().replace('"slot"', '"other"'),
    ],
)
def test_what_is_not_of_the_log_is_passed_over(other: str) -> None:
    assert count([other, line()]) == count([line()])


@pytest.mark.parametrize("seconds", [0.001, 0.0123, 0.5, 2.0, 60.0])
def test_a_bucket_is_two_percent_wide_and_holds_its_time(seconds: float) -> None:
    place = bucket(seconds)
    assert 1.02**place <= seconds * 1000 * (1 + 1e-9)
    assert seconds * 1000 < 1.02 ** (place + 1)


def test_what_takes_less_than_a_millisecond_is_in_the_first_bucket() -> None:
    assert bucket(0.0) == bucket(0.0005) == 0


RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def written(path: Path, *seconds_ago: float, **fields: Any) -> None:
    """Write a log with a line for each of these moments."""
    now = time.time()
    path.write_text("".join(f"{line(at=now - ago, **fields)}\n" for ago in seconds_ago))


def test_of_the_log_what_is_recent_is_read(run_module: RunModule, log: Path) -> None:
    # Workers write in turn, so lines are not quite in order.
    written(log, 120, 30, 90, 29, 1)
    result = run_module("access_log", seconds=60, path=str(log))
    assert not result["changed"]
    assert result["sample"]["releases"] == {"abc": 3}


def test_a_line_is_recent_from_the_given_moment_on(log: Path) -> None:
    log.write_text("".join(f"{line(at=at)}\n" for at in (1000.498, 1000.499, 1000.5, 1000.501)))
    assert [json.loads(found)["at"] for found in recent(log, 1000.5)] == [1000.5, 1000.501]


def test_logs_that_were_rotated_are_read_where_they_are_recent(run_module: RunModule, log: Path) -> None:
    written(log, 1, release="now")
    written(log.with_name("access.log.1"), 30, 20, release="before")
    written(log.with_name("access.log.2"), 30, release="long before")
    os.utime(log.with_name("access.log.2"), times=(time.time() - 61,) * 2)
    written(log.with_name("access.log.old"), 20, release="of somebody else")
    result = run_module("access_log", seconds=60, path=str(log))
    assert result["sample"]["releases"] == {"now": 1, "before": 2}


def test_as_many_rotated_logs_are_read_as_nginx_keeps(log: Path) -> None:
    rotating = (ROOT / "roles/nginx_lb/files/access_log.js").read_text()
    assert re.findall(r"const KEPT = (\d+);", rotating) == [str(ROTATED_LOGS)]
    for number in range(1, ROTATED_LOGS + 2):
        written(log.with_name(f"access.log.{number}"), 1)
    assert len(list(recent(log, 0))) == ROTATED_LOGS


def test_a_log_that_is_rotated_while_it_is_read_counts_once(log: Path) -> None:
    written(log, 2, release="first")
    written(log.with_name("access.log.1"), 3, release="older")
    lines = recent(log, 0)
    assert "first" in next(lines)
    log.with_name("access.log.1").rename(log.with_name("access.log.2"))
    log.rename(log.with_name("access.log.1"))
    written(log, 1, release="later")
    assert ["older" in line for line in lines] == [True]


def test_a_log_that_does_not_exist_counts_as_empty(run_module: RunModule, log: Path) -> None:
    assert run_module("access_log", seconds=60, path=str(log))["sample"]["releases"] == {}


def test_a_log_that_can_not_be_read_is_an_error(run_module: RunModule, log: Path) -> None:
    log.mkdir()
    result = run_module("access_log", seconds=60, path=str(log))
    assert result["failed"]
    assert "The access log can't be read: " in result["msg"]
    assert str(log) in result["msg"]

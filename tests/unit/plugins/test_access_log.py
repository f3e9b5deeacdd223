"""An access log adds up to requests, failures and times, and what is not of it does no harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modules.access_log import bucket, count


def line(**fields: Any) -> str:
    entry = {
        "at": 1000.5,
        "status": 200,
        "seconds": 0.012,
        "upstream_seconds": "0.012",
        "connect_seconds": "0.000",
        "colour": "blue",
        "endpoint": "node1",
        "release": "abc",
    }
    return json.dumps({**entry, **fields})


def test_requests_and_failures_are_counted_by_colour_endpoint_and_release() -> None:
    sample = count(
        [
            line(status=500, at=1002.0),
            line(),  # began first and is logged last
            line(status=429, endpoint="node2"),
            line(colour="green", release="def", endpoint="node2", status=503),
        ]
    )
    counts = {
        colour: (own["requests"], own["failures"], sum(own["histogram"].values()))
        for colour, own in sample["colours"].items()
    }
    assert counts == {"blue": (3, 1, 3), "green": (1, 1, 1)}
    assert sample["endpoints"] == {
        "node1": {"requests": 2, "failures": 1, "last": 1002.0},
        "node2": {"requests": 2, "failures": 1, "last": 1000.5},
    }
    assert sample["releases"] == {"abc": 3, "def": 1}


def test_a_request_that_no_endpoint_answered_is_a_failure_of_its_colour() -> None:
    sample = count([line(status=503, endpoint="", release="")])
    assert sample["colours"]["blue"]["failures"] == 1
    assert (sample["endpoints"], sample["releases"]) == ({}, {})


def test_a_request_without_a_colour_is_nobodys() -> None:
    assert count([line(status=404, colour="", endpoint="", release="")])["colours"] == {}


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
    assert list(sample["colours"]["blue"]["histogram"]) == [str(bucket(taken))]


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


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a shell script in Docker's place."""

    def script(body: str) -> None:
        program = tmp_path / "bin" / "docker"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=":")

    return script


RunModule = Callable[..., dict[str, Any]]


def test_the_log_is_what_the_container_said_of_late(
    run_module: RunModule, docker: Callable[[str], None], tmp_path: Path
) -> None:
    # More than a pipe holds goes to the errors, which must not hold up the log.
    docker(
        f"""echo "$@" > {tmp_path}/arguments
        head -c 200000 /dev/zero | tr '\\0' 'e' >&2
        echo '{line()}'"""
    )
    result = run_module("access_log", seconds=1.5)
    assert not result["changed"]
    assert result["sample"] == count([line()])
    assert (tmp_path / "arguments").read_text() == "logs --since 1.500s flotilla-nginx\n"


def test_a_container_that_is_not_there_is_named_in_docker_s_words(
    run_module: RunModule, docker: Callable[[str], None]
) -> None:
    docker("echo 'Error: No such container: edge' >&2; exit 1")
    result = run_module("access_log", seconds=60, container="edge")
    assert result["failed"]
    assert result["msg"] == "The access log can't be read from edge: Error: No such container: edge"

"""The lines of logs are found on the machine by status, id and time, and are shown for a person to read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.modules.log_lines import Wanted, last, logged_requests
from ansible_collections.flotilla.fleet.plugins.plugin_utils.logs import log_report, logs_step

from unit.plugins.module_process import run

GROUPS = {"load_balancers": ["lb1"], "model_nodes": ["node1", "node2"]}
NOW = 1_800_000_000.0
REQUEST = {
    "at": 1_800_000_000.25,
    "client": "192.0.2.7",
    "client_key": "alice",
    "request_id": "r1",
    "method": "POST",
    "uri": "/predict",
    "status": 200,
    "seconds": 0.0125,
    "upstream": "10.0.0.1:5001",
    "slot": "blue",
    "endpoint": "node1",
    "release": "abc",
}
LINE = {
    "time": 1_800_000_000.25,
    "release": "abc",
    "request_id": "r2",
    "method": "POST",
    "path": "/predict",
    "status": 503,
    "milliseconds": 3.5,
    "model": "iris",
    "rows": 2,
}


def logged(**fields: Any) -> str:
    return json.dumps({**REQUEST, **fields}, separators=(",", ":"))


def stamped(text: str) -> str:
    """A line of a container's log as docker gives it."""
    return f"2027-01-15T08:00:00.123456789Z {text}"


@pytest.mark.parametrize(
    ("status", "request_id", "found"),
    [
        ("", "", ["200 a", "503 b", "500 c", "word"]),
        ("503", "", ["503 b"]),
        ("5xx", "", ["503 b", "500 c"]),
        ("5XX", "c", ["500 c"]),
        ("", "a", ["200 a"]),
        ("404", "", []),
    ],
)
def test_lines_are_chosen_by_status_and_id(status: str, request_id: str, found: list[str]) -> None:
    lines = {
        f"{code} {name}": stamped(logged(status=code, request_id=name))
        for code, name in ((200, "a"), (503, "b"), (500, "c"))
    }
    # An id is the whole id, and in no other field.
    lines["aa"] = stamped(logged(status=404, request_id="aa", uri="/a/c")) if request_id else stamped("{")
    lines["word"] = stamped("a word")
    wanted = Wanted(status, request_id)
    chosen = [name for name, line in lines.items() if wanted(line)]
    assert [name for name in chosen if name != "aa"] == found
    assert ("aa" in chosen) == (not status and not request_id)


def test_the_last_lines_are_returned_the_oldest_first() -> None:
    assert last(map(str, range(10)), Wanted("", ""), 3) == ["7", "8", "9"]


def test_rotated_logs_are_read_and_lines_from_before_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.with_name("access.log.1").write_text(logged(at=10.5) + "\n" + logged(at=20.5) + "\n")
    path.write_text("half a li\n" + logged(at=30.5) + "\n")
    assert [json.loads(line)["at"] for line in logged_requests(path, 20.0)] == [20.5, 30.5]
    assert list(logged_requests(tmp_path / "none.log", 0)) == []


def test_the_module_reads_the_containers_with_the_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = ps ]; then echo "$4" >label; printf "flotilla-n1-blue\\tUp 2 hours\\n"; exit; fi\n'
        'echo "$*" >asked\n'
        f"echo '{stamped(json.dumps(LINE))}'; echo '{stamped('Traceback')}' >&2\n"
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    found = run("log_lines", {"label": "flotilla.endpoint=n1", "since": 5}, tmp_path)
    assert [log["name"] for log in found["logs"]] == ["flotilla-n1-blue (Up 2 hours)"]
    assert sorted(found["logs"][0]["lines"]) == sorted([stamped(json.dumps(LINE)), stamped("Traceback")])
    filtered = run("log_lines", {"label": "flotilla.endpoint=n1", "status": "503"}, tmp_path)
    assert filtered["logs"][0]["lines"] == [stamped(json.dumps(LINE))]


def test_requests_are_shown_in_words() -> None:
    logs = [
        {"name": "/var/log/flotilla/access.log", "lines": [logged()]},
        {
            "name": "flotilla-node1-blue (Up)",
            "lines": [stamped(json.dumps(LINE)), stamped("Traceback"), "{x"],
        },
        {"name": "flotilla-node1-green (Exited)", "lines": []},
    ]
    assert log_report(logs) == [  # type: ignore[arg-type]
        "/var/log/flotilla/access.log: 1 line",
        "2027-01-15 08:00:00Z  200     12.5 ms  POST /predict  by node1  slot blue  release abc  from 192.0.2.7  "
        "key alice  tried 10.0.0.1:5001  id r1",
        "flotilla-node1-blue (Up): 3 lines",
        "2027-01-15 08:00:00Z  503      3.5 ms  POST /predict  release abc  model iris  rows 2  id r2",
        "2027-01-15 08:00:00Z  Traceback",
        "{x",
        "flotilla-node1-green (Exited): no lines",
    ]


@pytest.mark.parametrize(
    ("asked", "host", "path"),
    [
        ({"node": "node1"}, "node1", ""),
        ({"host": "node2"}, "node2", ""),
        ({"host": "lb1"}, "lb1", "/var/log/flotilla/access.log"),
        ({"balancer": "lb1"}, "lb1", "/var/log/flotilla/access.log"),
    ],
)
def test_the_logs_of_a_node_or_of_a_load_balancer(asked: dict[str, str], host: str, path: str) -> None:
    step = logs_step({"node": "", **asked}, GROUPS, NOW)
    assert (step["refusal"], step["host"], step["path"]) == ("", host, path)
    assert step["label"] == ("flotilla.role=load_balancer" if path else f"flotilla.endpoint={host}")


def test_a_load_balancer_s_container_has_the_label() -> None:
    variables = (Path(__file__).parents[3] / "roles/nginx_lb/vars/main.yml").read_text()
    role, value = logs_step({"balancer": "lb1"}, GROUPS, NOW)["label"].split("=")
    assert f"{role}: {value}" in variables


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "Set one of node, balancer and host to a host's name, as -e node=NAME; none of them is set."),
        ({"node": "node1", "host": "lb1"}, "host=lb1 node=node1 is set."),
        ({"node": "lb1"}, "node is 'lb1', which is not among its hosts (node1, node2): set -e node=NAME."),
        ({"node": "node1", "since": "soon"}, "since is 'soon': set how long back, such as 30s"),
        ({"node": "node1", "status": "6xx"}, "status is '6xx': set a status, such as 503"),
    ],
)
def test_logs_that_do_not_exist_are_refused(asked: dict[str, str], words: str) -> None:
    assert words in logs_step(asked, GROUPS, NOW)["refusal"]


@pytest.mark.parametrize(
    ("since", "seconds"),
    [("", 0), ("30s", NOW - 30), ("2h", NOW - 7200), ("1d", NOW - 86400), ("2027-01-15T08:00:00", NOW)],
)
def test_a_time_is_how_long_back_or_a_time_in_utc(since: str, seconds: float) -> None:
    assert logs_step({"node": "node1", "since": since}, GROUPS, NOW)["since"] == seconds

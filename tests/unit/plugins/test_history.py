"""The history lists the runs of a fleet: those that changed it, those that failed, and those that were refused."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.history import (
    entries_of,
    history_lines,
    merged_log,
)


def log(*entries: dict[str, str], end: bytes = b"") -> dict[str, str]:
    """An audit log as module slurp returns it, written as module deploy_lock does; `end` is a line cut short."""
    text = "".join(f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in entries)
    return {"content": base64.b64encode(text.encode() + end).decode()}


def entry(minute: int, message: str) -> dict[str, str]:
    return {
        "time": f"2026-11-25T10:{minute:02}:00+00:00",
        "user": "ann",
        "controller": "desk",
        "playbook": "site.yml",
        "result": "released",
        "live": "new",
        "message": message,
    }


def test_history_has_each_entry_once_the_last_first() -> None:
    one, two, three = entry(1, "one"), entry(2, "two"), entry(3, "three")
    # The first load balancer was away for the second entry.
    assert history_lines([log(one, three), log(one, two, three)], 20) == [
        "2026-11-25T10:03:00+00:00  released     site.yml by ann@desk: three",
        "2026-11-25T10:02:00+00:00  released     site.yml by ann@desk: two",
        "2026-11-25T10:01:00+00:00  released     site.yml by ann@desk: one",
    ]


def test_a_run_is_one_whose_lock_two_load_balancers_gave_at_different_times() -> None:
    first, second = ({**entry(1, "one"), "started": f"2026-11-25T10:00:0{second}+00:00"} for second in (2, 4))
    for logs in (
        [log(first), log(second)],
        [log(second), log(first)],
        [log(second), log(first, entry(2, "two"))],
    ):
        found = entries_of(logs)
        assert [run.get("started") for run in found if run["message"] == "one"] == [first["started"]]
        assert [json.loads(line) for line in merged_log(logs).splitlines()] == found[::-1]


@pytest.mark.parametrize(("entries", "shown"), [(2, 2), ("1", 1), (9, 3)])
def test_history_is_as_long_as_was_asked_for(entries: int | str, shown: int) -> None:
    found = history_lines([log(*(entry(minute, "x") for minute in range(3)))], entries)
    assert len(found) == shown


def test_a_message_is_one_entry_whatever_is_in_it() -> None:
    (found,) = history_lines([log(entry(1, "a line\u2028of another kind"))], 20)
    assert found.endswith("a line\u2028of another kind")


def test_a_line_that_was_cut_short_hides_no_other() -> None:
    found = history_lines(
        [log(entry(1, "one"), end='{"message": "ü'.encode()[:-1]), log(entry(2, "two"))], 20
    )
    assert [line.rpartition(" ")[2] for line in found] == ["two", "one"]


def test_a_line_of_another_kind_hides_no_other() -> None:
    found = history_lines([log(entry(1, "one"), end=b'{"written": "by somebody else"}')], 20)
    assert [line.rpartition(" ")[2] for line in found] == ["one"]


def test_a_load_balancer_without_a_log_has_no_history() -> None:
    assert history_lines([{}, log()], 20) == []


def test_a_run_about_a_node_names_it_and_a_refused_run_says_so() -> None:
    drained = {**entry(1, "done"), "playbook": "drain.yml", "node": "n1"}
    refused = {**entry(2, "lb1: taken"), "result": "refused"}
    assert history_lines([log(drained), log(refused)], 20) == [
        "2026-11-25T10:02:00+00:00  refused      site.yml by ann@desk: lb1: taken",
        "2026-11-25T10:01:00+00:00  released     drain.yml of n1 by ann@desk: done",
    ]

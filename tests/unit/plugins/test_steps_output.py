"""The lines that a run shows, its progress and its failures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ansible_collections.flotilla.fleet.plugins.plugin_utils.output.lines import (
    Change,
    Failure,
    about,
    change_lines,
    count_line,
    duration,
    failure_summary,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.output.progress import Progress, Ticker
from ansible_collections.flotilla.fleet.plugins.plugin_utils.output.results import changed_items, last_words

ROOT = Path(__file__).parents[3]
SECRET = "open-sesame"


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_takes_long_is_said_after_five_seconds_and_then_less_and_less_often() -> None:
    clock = Clock()
    progress = Progress(every_tick=False, clock=clock)
    progress.begin("t", "Build the image", "lb1")
    progress.begin("t", "Build the image", "lb2")
    said = {}
    for second in range(200):
        clock.now = second
        if second == 30:
            progress.note("t", "Step 3/7 : RUN pip")
            progress.end("t", "lb2")
        if line := progress.line():
            said[second] = line
    assert list(said) == [5, 10, 20, 40, 80, 140]
    assert said[5] == "lb1, lb2: Build the image (5 s)"
    assert said[40] == "lb1: Build the image: Step 3/7 : RUN pip (40 s)"
    progress.end("t", "lb1")
    clock.now = 1000
    assert progress.line() == ""


def test_on_a_terminal_each_second_has_its_line() -> None:
    clock = Clock()
    progress = Progress(every_tick=True, clock=clock)
    progress.begin("t", "Wait", "lb1")
    lines = []
    for second in range(9):
        clock.now = second
        lines.append(progress.line())
    assert [bool(line) for line in lines] == [False] * 5 + [True] * 4


def test_the_ticker_says_what_the_progress_has_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = Clock(), []
    progress = Progress(every_tick=True, clock=clock)
    progress.begin("t", "Wait", "lb1")
    clock.now = 7

    def say(line: str) -> None:
        said.append(line)
        ticker._stopped.set()

    monkeypatch.setattr(
        "ansible_collections.flotilla.fleet.plugins.plugin_utils.output.progress.TICK_SECONDS", 0.01
    )
    ticker = Ticker(progress, say)
    ticker.start()
    ticker._thread.join(timeout=10)
    ticker.stop()
    assert said == ["lb1: Wait (7 s)"]


def test_hosts_with_the_same_changes_share_a_line() -> None:
    changes = [Change(host, what) for host in ("n2", "n1", "n3") for what in ("Pull it", "Pull it")]
    changes += [Change("n3", "Run it")]
    assert change_lines(changes, checking=False) == [
        "  n1, n2: Pull it (2 times)",
        "  n3: Pull it (2 times); Run it",
    ]


def test_the_count_of_many_hosts_is_cut() -> None:
    assert count_line({}, checking=True) == "nothing would change"
    assert count_line({}, checking=True, failed=True) == "what would change was not looked at"
    assert count_line({}, checking=False, failed=True) == "nothing changed"
    assert count_line({f"n{number}": 1 for number in range(20)}, checking=False).endswith(
        "n11 1 and 8 hosts more"
    )


def test_long_times_are_in_minutes() -> None:
    assert (duration(1.26), duration(192)) == ("1.3 s", "3 min 12 s")


def test_a_failure_is_the_host_s_that_its_words_begin_with() -> None:
    failure = Failure("lb1", "End the run", "Fail", "node2: wrong answer", own=True)
    assert failure_summary([about(failure, ["lb1", "node2"])])[:2] == [
        "node2 failed at “Fail”, in the step “End the run”",
        "  wrong answer",
    ]
    assert about(failure, ["lb1"]) == failure
    assert about(replace(failure, own=False), ["node2"]).host == "lb1"


def test_the_words_of_a_hidden_result_are_not_read() -> None:
    assert (
        last_words({"stdout": "Step 1/2 : A\nStep 2/2 : RUN b\n ---> Running in 3f\n"}) == "Step 2/2 : RUN b"
    )
    assert last_words({"msg": "one\ntwo"}) == "two"
    assert last_words({}) == ""
    assert last_words({"stdout": SECRET, "_ansible_no_log": True}) == ""
    item = {"changed": True, "item": SECRET, "_ansible_no_log": True}
    assert changed_items({"results": [item]}) == ""


def test_molecule_reads_ansibles_own_recap() -> None:
    shared = yaml.safe_load((ROOT / ".config/molecule/config.yml").read_text())
    assert shared["ansible"]["env"]["ANSIBLE_STDOUT_CALLBACK"] == "ansible.builtin.default"
    for scenario in (ROOT / "molecule").glob("*/molecule.yml"):
        own = (yaml.safe_load(scenario.read_text()).get("ansible") or {}).get("env") or {}
        assert "ANSIBLE_STDOUT_CALLBACK" not in own, scenario

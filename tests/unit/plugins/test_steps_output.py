"""What a run shows: a line a step, what was changed on which host, and at the end what failed and the fix."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

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

from unit.plugins.small_fleet import write_fleet

ROOT = Path(__file__).parents[3]
SECRET = "open-sesame"
Tasks = list[dict[str, Any]]
Run = Callable[..., tuple[int, list[str]]]

LOOK: Tasks = [{"name": "Look at the machine", "ansible.builtin.ping": {}}]
CHANGES: Tasks = [
    {
        "name": "Write the file",
        "ansible.builtin.copy": {
            "content": "new\n",
            "dest": "{{ playbook_dir }}/{{ inventory_hostname }}-file",
        },
    },
    {
        "name": "Start {{ inventory_hostname }}",
        "ansible.builtin.command": "true {{ item }}",
        "loop": ["one", "two"],
        "when": "inventory_hostname == 'node2'",
    },
    {"name": "Tell", "ansible.builtin.debug": {"msg": ["the plan", "the rest"]}, "run_once": True},
    {
        "name": "Hide the secret",
        "ansible.builtin.command": "echo {{ item }}",
        "loop": [SECRET],
        "no_log": True,
        "when": "inventory_hostname == 'node2'",
    },
]
SKIPPED: Tasks = [{"name": "Skip", "ansible.builtin.ping": {}, "when": False}]


def play(name: str, tasks: Tasks, hosts: str = "here") -> dict[str, Any]:
    return {"name": name, "hosts": hosts, "gather_facts": False, "tasks": tasks}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    ssh = write_fleet(tmp_path, "No route to host")

    def run_plays(
        *plays: Mapping[str, Any], options: tuple[str, ...] = (), terminal: bool = False, **environment: str
    ) -> tuple[int, list[str]]:
        (tmp_path / "site.yml").write_text(json.dumps(plays))
        settings = {
            "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg",
            "ANSIBLE_SSH_EXECUTABLE": str(ssh),
            "TERM": "xterm",
            **environment,
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        ours, theirs = pty.openpty() if terminal else os.pipe()
        with os.fdopen(ours, "rb", buffering=0) as reading:
            process = subprocess.Popen(
                [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.ini", *options, "site.yml"],
                cwd=tmp_path,
                env={**inherited, **settings},
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=subprocess.STDOUT,
            )
            os.close(theirs)
            output = b""
            try:
                while part := reading.read(4096):
                    output += part
            except OSError:  # how a terminal ends
                pass
            return process.wait(), output.decode().replace("\r\n", "\n").splitlines()

    return run_plays


def untimed(lines: list[str]) -> list[str]:
    """Return lines without the times of the steps, and without those that come where this machine is busy."""
    busy = ("  ended after", "  … ")
    return [re.sub(r" +[0-9.]+ s$", " <time>", line) for line in lines if not line.startswith(busy)]


def test_a_run_with_nothing_to_do_has_a_line_for_each_step_that_looked(run: Run) -> None:
    code, lines = run(play("Inspect", LOOK), play("Skip all", SKIPPED), play("None", LOOK, "nobody"))
    assert code == 0
    shown = [line for line in untimed(lines) if "WARNING" not in line and line != "Skip all <time>"]
    assert shown == ["Inspect <time>", "nothing changed"]


def test_changes_are_shown_by_host_under_their_step_and_secrets_stay_hidden(run: Run) -> None:
    code, lines = run(play("Inspect", LOOK), play("Change", CHANGES), options=("--diff",))
    text = "\n".join(lines)
    assert code == 0
    assert "\x1b" not in text
    assert SECRET not in text
    assert [line for line in untimed(lines) if not re.match(r"[-+@]|  node\d: Write the file$|$", line)] == [
        "Inspect <time>",
        "Change",
        "  the plan",
        "  the rest",
        "  node2: Write the file; Start (one, two); Hide the secret",
        "changed: node1 1, node2 3",
    ]
    assert lines.count("  node1: Write the file") == 2  # above the difference, and at the step's end
    assert text.count("+new") == 2


def test_check_mode_says_what_would_be_done(run: Run) -> None:
    would = {
        "name": "Report the image that would be built",
        "ansible.builtin.debug": {"msg": "The image would be built."},
        "changed_when": True,
        "when": "ansible_check_mode and inventory_hostname == 'node1'",
    }
    code, lines = run(play("Change", [CHANGES[0]]), play("Build", [would]), options=("--check",))
    assert code == 0
    assert untimed(lines) == [
        "Change <time>",
        "  node1, node2 would: write the file",
        "Build <time>",
        "  node1: The image would be built.",
        "would change: node1 2, node2 1",
    ]


def test_a_failure_ends_with_host_task_words_and_fix(run: Run) -> None:
    tasks: Tasks = [
        {"name": "Break the thing", "ansible.builtin.command": "sh -c 'echo the cause >&2; exit 3'"},
    ]
    code, lines = run(play("Inspect", LOOK), play("Change", tasks, "node1"))
    assert code == 2
    assert lines[-4:] == [
        "node1 failed at “Break the thing”, in the step “Change”",
        "  non-zero return code: the cause",
        "  fix: run this again with -v, which shows all that the task returned",
        "nothing changed",
    ]
    assert "  node1 failed: Break the thing: non-zero return code: the cause" in lines


def test_all_hosts_that_failed_are_named_and_own_words_carry_the_fix(run: Run) -> None:
    refuse: Tasks = [
        {"name": "Refuse", "ansible.builtin.fail": {"msg": "port is 0:\nset another"}},
    ]
    hidden: Tasks = [{"name": "Hide", "ansible.builtin.fail": {"msg": SECRET}, "no_log": True}]
    code, lines = run(play("Check", refuse))
    assert code == 2
    assert {
        "  node1 failed: Refuse: port is 0:",
        "  node2 failed: Refuse: port is 0:",
        "    set another",
    } <= set(lines)
    assert re.fullmatch(r"failed besides: node[12]", lines[-5])
    assert lines[-3:-1] == [
        "  port is 0: set another",
        "  fix: do what the line above says, and run this again",
    ]
    code, lines = run(play("Hide", hidden, "node1"))
    assert SECRET not in "\n".join(lines)
    assert "(no_log)" in lines[-3]


def test_a_host_out_of_reach_is_named_with_the_words_of_ssh(run: Run) -> None:
    rescued = {
        "block": [{"name": "Try", "ansible.builtin.fail": {"msg": "not this"}}],
        "rescue": [{"name": "Recover", "ansible.builtin.ping": {}}],
    }
    code, lines = run(play("Inspect", [rescued], "node1"), play("Reach", LOOK, "node1,node3"))
    assert code == 4
    assert lines[-4] == "node3 can't be reached, in the step “Reach”"
    assert "No route to host" in lines[-3] or "192.0.2.3" in lines[-3]
    assert lines[-2].startswith("  fix: see that node3 is on")
    assert not any("not this" in line for line in lines[-5:])


def test_v_gives_ansibles_own_output(run: Run) -> None:
    _, lines = run(play("Change", [CHANGES[0]]), options=("-v",))
    text = "\n".join(lines)
    assert "PLAY [Change]" in text
    assert "TASK [Write the file]" in text
    assert re.search(r"PLAY RECAP \*+\nnode1 +: ok=1 +changed=1 ", text)


def test_only_terminals_get_escape_sequences(run: Run) -> None:
    plays = [play("Change", [CHANGES[0]], "node1")]
    _, lines = run(*plays, terminal=True)
    assert "\x1b[0;33m  node1: Write the file\x1b[0m" in "\n".join(lines)
    _, lines = run(*plays, terminal=True, NO_COLOR="1")
    assert "\x1b[0;" not in "\n".join(lines)


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

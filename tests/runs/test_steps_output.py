"""What a run shows: a line a step, what was changed on which host, and at the end what failed and the fix."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from runs.small_fleet import write_fleet

ROOT = Path(__file__).parents[2]
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
        *plays: Mapping[str, Any],
        options: tuple[str, ...] = (),
        before: tuple[Mapping[str, Any], ...] = (),
        terminal: bool = False,
        **environment: str,
    ) -> tuple[int, list[str]]:
        playbooks = {"first.yml": before, "site.yml": plays} if before else {"site.yml": plays}
        for name, content in playbooks.items():
            (tmp_path / name).write_text(json.dumps(content))
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
                [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.ini", *options, *playbooks],
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


def test_each_playbook_of_one_command_is_shown_as_if_it_ran_alone(run: Run) -> None:
    code, lines = run(play("Change", CHANGES), before=(play("Inspect", LOOK),))
    assert code == 0
    assert not [line for line in lines if "Callback dispatch" in line]
    assert untimed(lines)[:3] == ["Inspect <time>", "nothing changed", "Change"]


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

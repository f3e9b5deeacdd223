"""A run that asks for a verdict ends with one line, and a file, that give its result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runs.small_fleet import write_fleet

ROOT = Path(__file__).parents[2]
SECRET = "open-sesame"

Run = Callable[..., "Outcome"]


class Outcome:
    """The exit code, output and verdict file of a run."""

    def __init__(self, process: subprocess.CompletedProcess[str], verdict: Path) -> None:
        self.code = process.returncode
        self.path = verdict
        self.output = process.stdout + process.stderr
        self.last_line = process.stdout.strip().splitlines()[-1]
        self.verdict: dict[str, Any] | None = json.loads(verdict.read_text()) if verdict.exists() else None
        self.file_text = verdict.read_text() if verdict.exists() else ""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    ssh = write_fleet(tmp_path, variables=f"secret={SECRET}")
    verdict = tmp_path / "a" / "verdict.json"

    def run_tasks(
        *tasks: dict[str, Any], asks: dict[str, Any] | bool = True, playbook: str = "site.yml"
    ) -> Outcome:
        """Run `tasks` on node1, node2 and node3, each in a play of its own; node3 can't be reached.

        `asks` is what a run gives that asks for a verdict; None stands for a key that it does not give.
        """
        plays = [{"hosts": "all", "gather_facts": False, "tasks": [task]} for task in tasks]
        if asks:
            given = {"path": str(verdict), "live": "old"} | (asks if isinstance(asks, dict) else {})
            given = {key: value for key, value in given.items() if value is not None}
            plays.insert(0, give(**given) | {"hosts": "node1"})
        (tmp_path / "site.yml").write_text(json.dumps(plays))
        in_collection = tmp_path / "ansible_collections" / "example" / "fleet" / "playbooks"
        in_collection.mkdir(parents=True)
        (in_collection / "site.yml").write_text(json.dumps(plays))
        process = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.ini", playbook],
            cwd=tmp_path,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg",
                "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/.collections:{tmp_path}",
                "ANSIBLE_SSH_EXECUTABLE": str(ssh),
                "ANSIBLE_NOCOLOR": "1",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Outcome(process, verdict)

    return run_tasks


def stats(**verdict: Any) -> dict[str, Any]:
    return {
        "ansible.builtin.set_stats": {
            "data": {"flotilla_verdict": verdict},
            "per_host": False,
            "aggregate": True,
        },
        "run_once": True,
    }


def give(**verdict: Any) -> dict[str, Any]:
    return {"gather_facts": False, "tasks": [stats(**verdict)]}


def on(hosts: list[str], task: dict[str, Any], **keywords: Any) -> dict[str, Any]:
    return {**task, **keywords, "when": [f"inventory_hostname in {hosts}"]}


def test_a_run_ends_with_the_result_it_gave(run: Run) -> None:
    outcome = run(
        # Written as text and as a template, which Ansible holds in different types.
        stats(result="{{ 'unchanged' }}", live="{{ 'new' }}"),
        stats(result="released", message="new is live on 2 of 2 nodes"),
    )
    assert outcome.code == 0
    assert outcome.last_line == "flotilla: released: new is live on 2 of 2 nodes"
    verdict = outcome.verdict
    assert verdict is not None
    assert (verdict["result"], verdict["live"], verdict["playbook"]) == ("released", "new", "site.yml")
    assert (verdict["failed"], verdict["unreachable"], verdict["left_out"]) == ({}, {}, [])
    assert verdict["inventory"][0].endswith("hosts.ini")
    assert verdict["started"] <= verdict["ended"]
    assert "path" not in verdict


def test_the_playbook_of_a_collection_is_called_by_its_file_name(run: Run) -> None:
    outcome = run(playbook="example.fleet.site")
    assert outcome.verdict is not None
    assert outcome.verdict["playbook"] == "site.yml"


def test_a_failed_host_makes_the_run_failed_and_is_named_with_its_error(run: Run) -> None:
    rescued = {
        "block": [on(["node2"], {"ansible.builtin.fail": {"msg": "not this"}})],
        "rescue": [{"ansible.builtin.debug": {}}],
    }
    outcome = run(
        on(["node1", "node2"], rescued),
        stats(result="released", message="new is live"),
        on(["node2"], {"ansible.builtin.raw": "echo the cause >&2; exit 3"}),
        on(["node1"], {"ansible.builtin.raw": "test {{ item }} = good", "loop": ["good", "bad"]}),
    )
    assert outcome.code != 0
    assert (
        outcome.last_line
        == "flotilla: failed: node2: non-zero return code: the cause (and 1 more); release old is live"
    )
    assert outcome.verdict is not None
    assert outcome.verdict["result"] == "failed"
    assert outcome.verdict["failed"] == {
        "node2": "non-zero return code: the cause",
        "node1": "non-zero return code",
    }


def test_a_host_out_of_reach_is_left_out_and_says_so(run: Run) -> None:
    outcome = run(
        on(["node3"], {"ansible.builtin.ping": {}}),
        stats(result="released", message="new is live on 2 of 3 nodes"),
    )
    assert outcome.last_line == "flotilla: released: new is live on 2 of 3 nodes; left out: node3"
    assert outcome.verdict is not None
    assert outcome.verdict["left_out"] == ["node3"]
    assert "192.0.2.3" in outcome.verdict["unreachable"]["node3"]  # in whatever words SSH has for it


def test_a_run_that_does_not_ask_says_nothing(run: Run) -> None:
    outcome = run(on(["node1"], {"ansible.builtin.fail": {"msg": "no"}}), asks=False)
    assert outcome.verdict is None
    assert "flotilla" not in outcome.output


def test_what_a_task_hides_does_not_get_into_the_verdict(run: Run) -> None:
    fail = {"ansible.builtin.fail": {"msg": "{{ secret }}"}, "no_log": True}
    looped = {**fail, "ansible.builtin.fail": {"msg": "{{ secret }} {{ item }}"}, "loop": [1, 2]}
    templated = {**fail, "name": "templated", "no_log": "{{ 1 == 1 }}"}
    outcome = run(
        on(["node1"], looped, name="hidden"),
        on(["node2"], templated),
    )
    assert outcome.verdict is not None
    assert set(outcome.verdict["failed"]) == {"node1", "node2"}
    assert "“hidden” failed" in outcome.last_line
    assert "(no_log)" in outcome.verdict["failed"]["node2"]
    assert SECRET not in outcome.last_line + outcome.file_text


STATE = {
    "serial": 4,
    "live": {"id": "old"},
    "drained": ["n3"],
    "nodes": {"n1": {"status": "up"}, "n4": {"status": "down"}},
}


def test_the_results_of_tasks_tell_what_is_live_and_an_early_end_gets_into_the_history(run: Run) -> None:
    state = {"ansible.builtin.set_fact": {"release_state": STATE, "release_looked": True}}
    outcome = run(
        on(["node1"], state), on(["node2"], {"ansible.builtin.fail": {"msg": "no"}}), asks={"live": None}
    )
    assert outcome.last_line == "flotilla: failed: node2: no; release old is live; drained: n3; left out: n4"
    entry = json.loads((outcome.path.parent / "history.jsonl").read_text())
    assert (entry["playbook"], entry["result"], entry["live"]) == ("site.yml", "failed", "old")
    assert entry["message"] == "node2: no; release old is live; drained: n3; left out: n4"
    assert {"time", "user", "controller"} <= entry.keys()

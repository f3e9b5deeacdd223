"""Who a run is, on the controller, and when the run that holds a lock is dead."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible.executor.process.worker import WorkerProcess
from ansible_collections.flotilla.fleet.plugins.action import deploy_lock as action

from unit.plugins.deploy_lock.owners import OLDER, owner


class Worker(WorkerProcess):  # type: ignore[misc]  # Ansible has no types
    """One of Ansible's workers, without a task."""

    def __init__(self, queue: Any) -> None:
        multiprocessing.Process.__init__(self)
        self.queue = queue

    def start(self) -> None:
        multiprocessing.Process.start(self)

    def run(self) -> None:
        self.queue.put(action.this_run("site.yml"))


def test_all_workers_of_a_run_are_one_owner_and_another_run_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue: Any = multiprocessing.get_context("fork").SimpleQueue()
    own = action.this_run("site.yml")
    assert own["pid"] == os.getpid()
    worker = Worker(queue)
    worker.start()
    worker.join()
    its = queue.get()
    assert (its["pid"], its["run"]) == (own["pid"], own["run"])
    # A program that runs playbooks may itself be some process's child.
    other = multiprocessing.get_context("fork").Process(target=lambda: queue.put(action.main_process()))
    other.start()
    other.join()
    assert queue.get() == other.pid
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", "/tmp/ansible-local-other")
    assert action.this_run("site.yml")["run"] != own["run"]


class Clock:
    """The controller's clock, and what the module finds of run1."""

    def __init__(self) -> None:
        self.now = 1000.0

    def found(self, beat: str, silent: float | None) -> dict[str, Any]:
        return {"holder": owner(), "beat": beat, "silent": silent, "held": False}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def test_a_run_is_dead_when_it_gives_no_sign_while_it_is_watched(clock: Clock, tmp_path: Path) -> None:
    watch = action.Watch(tmp_path / "dead")
    assert watch.gone(clock.found("run1 5", 29)) is None
    assert watch.gone(clock.found("run1 5", 31)) is None
    clock.now += 15
    assert watch.gone(clock.found("run1 9", 1)) is None  # it lives
    clock.now += 35
    assert watch.gone(clock.found("run1 9", 36)) is None
    clock.now += 19
    assert watch.gone(clock.found("run1 9", 55)) is None
    clock.now += 1
    assert watch.gone(clock.found("run1 9", 56)) == {"run": "run1", "beat": "run1 9"}
    # The other load balancers need not be watched as long, but have to be without a sign too.
    other = action.Watch(tmp_path / "dead")
    assert other.gone(clock.found("run1 5", 2)) is None
    assert other.gone(clock.found("run1 5", 31)) == {"run": "run1", "beat": "run1 5"}


@pytest.mark.parametrize("silent", [None, 0.0, 29.0])
def test_a_run_that_speaks_or_never_spoke_is_not_dead(
    clock: Clock, tmp_path: Path, silent: float | None
) -> None:
    watch = action.Watch(tmp_path / "dead")
    for _ in range(3):
        clock.now += 1000
        assert watch.gone(clock.found("run1 5", silent)) is None
    older = json.loads(OLDER)
    assert watch.gone({"holder": older, "beat": "", "silent": None}) is None


def test_a_refusal_says_what_to_do_about_the_run_in_the_way(clock: Clock) -> None:
    spoke = action.in_the_way(clock.found("run1 5", 7.4))
    assert "gave its last sign of life 7 s ago" in spoke
    assert "unlock" not in spoke
    silent = action.in_the_way({"holder": json.loads(OLDER), "silent": None})
    assert silent.startswith(
        "ann@desk has been deploying since 2024-01-02T03:04:05+00:00 (process 1, site.yml)."
    )
    assert "break its lock: ansible-playbook flotilla.fleet.unlock" in silent

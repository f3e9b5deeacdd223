"""Who a run is, on the controller, and whether the run that holds a lock is gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.executor.process.worker import WorkerProcess
from ansible_collections.flotilla.fleet.plugins.action import deploy_lock as action


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def holder_of(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    started = action.process_start(process.pid)
    return {**action.this_run("site.yml"), "pid": process.pid, "started": started}


def test_a_holder_is_gone_once_its_process_is_killed(child: subprocess.Popen[bytes]) -> None:
    holder = holder_of(child)
    assert not action.is_gone(holder)
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert action.is_gone(holder)  # a zombie still
    child.wait()
    assert action.is_gone(holder)


def test_a_process_that_was_given_the_number_of_the_holder_is_not_the_holder(
    child: subprocess.Popen[bytes],
) -> None:
    holder = holder_of(child)
    assert action.is_gone({**holder, "started": holder["started"] - 1})


@pytest.mark.parametrize("other", [{"controller": "elsewhere"}, {"pid_space": "another boot"}])
def test_a_holder_elsewhere_never_counts_as_gone(other: dict[str, str]) -> None:
    holder = {**action.this_run("site.yml"), "pid": 2**22 + 1}
    assert action.is_gone(holder)
    assert not action.is_gone({**holder, **other})


class Worker(WorkerProcess):  # type: ignore[misc]  # Ansible has no types
    """One of Ansible's workers, without a task."""

    def __init__(self, queue: Any) -> None:
        multiprocessing.Process.__init__(self)
        self.queue = queue

    def start(self) -> None:
        multiprocessing.Process.start(self)

    def run(self) -> None:
        self.queue.put(action.main_process())


def test_the_main_process_is_the_workers_parent_or_this_one() -> None:
    queue: Any = multiprocessing.get_context("fork").SimpleQueue()
    assert action.main_process() == os.getpid()
    worker = Worker(queue)
    worker.start()
    worker.join()
    assert queue.get() == os.getpid()
    # A program that runs playbooks may itself be some process's child.
    other = multiprocessing.get_context("fork").Process(target=lambda: queue.put(action.main_process()))
    other.start()
    other.join()
    assert queue.get() == other.pid

"""One run deploys at a time, and the lock of a killed run does not stop the next one."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.executor.process.worker import WorkerProcess
from ansible_collections.flotilla.fleet.plugins.action import deploy_lock as action
from ansible_collections.flotilla.fleet.plugins.module_utils.folder_lock import locked
from ansible_collections.flotilla.fleet.plugins.modules import deploy_lock as module

ROOT = Path(__file__).parents[3]
ANSIBLE_PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))

Lock = Callable[..., dict[str, Any]]


def owner(pid: int = 1, **different: Any) -> dict[str, Any]:
    return {
        "user": "ann",
        "controller": "desk",
        "pid": pid,
        "started": 100,
        "pid_space": "here",
        "time": "2024-01-02T03:04:05+00:00",
        "playbook": "site.yml",
        **different,
    }


# ---- The module, on a load balancer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "flotilla"


@pytest.fixture
def lock(run_module: Callable[..., dict[str, Any]], folder: Path) -> Lock:
    def run(state: str, owner: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        return run_module("deploy_lock", state=state, directory=str(folder), owner=owner, **arguments)

    return run


def audit_log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]


def test_a_lock_is_held_by_one_run_until_that_run_releases_it(lock: Lock, folder: Path) -> None:
    first = lock("acquired", owner(1))
    assert (first["held"], first["changed"], first["taken_over"]) == (True, False, {})
    assert lock("acquired", owner(1))["held"]
    second = lock("acquired", owner(2))
    assert (second["held"], second["holder"]) == (False, owner(1))
    lock("released", owner(2))
    assert (folder / "lock.json").exists()
    lock("released", owner(1), audit={"result": "released"})
    assert audit_log(folder) == [{"result": "released"}]
    assert lock("acquired", owner(2))["held"]
    assert sorted(path.name for path in folder.iterdir()) == ["audit.jsonl", "lock.json"]


def test_of_two_processes_that_race_for_a_lock_one_gets_it(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    rounds, start, held = 200, context.Barrier(2), context.SimpleQueue()

    def race(pid: int) -> None:
        for number in range(rounds):
            start.wait()
            directory = folder / str(number)
            with locked(directory):
                if module.acquire(directory, owner(pid), owner(9), check_mode=False)["held"]:
                    held.put(number)

    for number in range(rounds):
        (folder / str(number)).mkdir(parents=True)
        if number % 2:  # a lock that both may take over; the others are free
            (folder / str(number) / "lock.json").write_text(json.dumps(owner(9)))
    racers = [context.Process(target=race, args=[pid]) for pid in (1, 2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    winners = []
    while not held.empty():
        winners.append(held.get())
    assert sorted(winners) == list(range(rounds))


def test_a_lock_is_taken_over_only_from_the_run_that_was_found_gone(lock: Lock, folder: Path) -> None:
    lock("acquired", owner(1))
    assert not lock("acquired", owner(2), gone=owner(3))["held"]
    assert not lock("acquired", owner(2), gone=owner(1, started=99))["held"]
    assert lock("acquired", owner(2), gone=owner(1))["taken_over"] == owner(1)
    assert audit_log(folder)[0]["result"] == "taken over"
    assert "ann@desk, process 1, site.yml" in audit_log(folder)[0]["message"]


def test_a_lock_file_that_version_0_1_wrote_is_understood(lock: Lock, folder: Path) -> None:
    folder.mkdir()
    (folder / "lock.json").write_text(
        '{"user": "ann", "controller": "desk", "pid": 1, "started": 100, "pid_space": "here",'
        ' "time": "2024-01-02T03:04:05+00:00", "playbook": "site.yml"}\n'
    )
    assert lock("acquired", owner(2))["holder"] == owner(1)
    assert lock("acquired", owner(1))["held"]
    assert lock("acquired", owner(2), gone=owner(1))["taken_over"] == owner(1)


def test_a_broken_lock_is_released_whoever_holds_it(lock: Lock, folder: Path) -> None:
    lock("acquired", owner(1))
    result = lock("broken", owner(2))
    assert (result["changed"], result["holder"], result["held"]) == (True, owner(1), False)
    assert not (folder / "lock.json").exists()
    again = lock("broken", owner(2))
    assert (again["changed"], again["holder"]) == (False, {})


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"user'])
def test_a_lock_that_cannot_be_read_is_held_by_an_unknown_run_and_can_be_broken(
    lock: Lock, folder: Path, content: str
) -> None:
    folder.mkdir()
    (folder / "lock.json").write_text(content)
    refused = lock("acquired", owner(1))
    assert not refused["held"]
    assert "unknown@unknown (process 0, unknown, since 20" in action.describe(refused["holder"])
    assert lock("broken", owner(1))["changed"]
    assert lock("acquired", owner(1))["held"]


def test_check_mode_writes_nothing(lock: Lock, folder: Path, run_module: Callable[..., Any]) -> None:
    for state in ("acquired", "released", "broken"):
        run_module(
            "deploy_lock", check=True, state=state, directory=str(folder), owner=owner(), audit={"a": 1}
        )
        assert not folder.exists()
    lock("acquired", owner(1))
    result = run_module("deploy_lock", check=True, state="broken", directory=str(folder), owner=owner(2))
    assert result["changed"]
    assert [path.name for path in folder.iterdir()] == ["lock.json"]


def test_a_folder_that_cannot_be_made_is_named(lock: Lock, folder: Path) -> None:
    folder.write_text("a file where a folder should be")
    result = lock("acquired", owner())
    assert result["failed"]
    assert str(folder) in result["msg"]


# ---- Who a run is, on the controller


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


# ---- Whole runs of ansible-playbook


class Fleet:
    """Load balancers on this machine, each with a folder of its own, and the real playbooks with that folder."""

    def __init__(self, folder: Path, *, reachable: int = 1, away: int = 0) -> None:
        self.folder = folder
        self.started, self.finish = folder / "started", folder / "finish"
        here = {
            f"lb{number}": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
            }
            for number in range(1 + away, 1 + away + reachable)
        }
        gone = {f"lb{number}": {"ansible_host": "192.0.2.1"} for number in range(1, 1 + away)}
        hosts = {"load_balancers": {"hosts": {**gone, **here}}}
        (folder / "hosts.json").write_text(json.dumps(hosts))
        (folder / "ssh").write_text("#!/bin/sh\nexit 255\n")
        (folder / "ssh").chmod(0o755)
        # Bounded, so that a test that fails leaves nothing behind.
        wait = f"timeout 60 sh -c 'until test -e {self.finish}; do sleep 0.05; done'"
        work = {
            "name": "Deploy",
            "hosts": "load_balancers",
            "gather_facts": False,
            "tasks": [
                {"ansible.builtin.shell": f"touch {self.started}; {wait}"},
                {"flotilla.fleet.deploy_lock": {"state": "released", "audit": {"result": "released"}}},
            ],
        }
        self.playbook("site", [*self.real("lock"), work])
        self.playbook("unlock", self.real("unlock")[1:])  # all but the check of the inventory

    def real(self, name: str) -> list[dict[str, Any]]:
        plays: list[dict[str, Any]] = yaml.safe_load((ROOT / f"playbooks/{name}.yml").read_text())
        for play in plays:
            play.pop("become", None)
        return plays

    def playbook(self, name: str, plays: list[dict[str, Any]]) -> None:
        for play in plays:
            directory = f"{self.folder}/{{{{ inventory_hostname }}}}"
            play["module_defaults"] = {"flotilla.fleet.deploy_lock": {"directory": directory}}
        (self.folder / f"{name}.yml").write_text(json.dumps(plays))

    def start(self, name: str = "site", **variables: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [ANSIBLE_PLAYBOOK, "-i", "hosts.json", f"{name}.yml", "-e", json.dumps(variables)],
            cwd=self.folder,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg",
                "ANSIBLE_SSH_EXECUTABLE": f"{self.folder}/ssh",
                "ANSIBLE_NOCOLOR": "1",
                "COLUMNS": "1000",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, name: str = "site", **variables: Any) -> tuple[int, str]:
        return ended(self.start(name, **variables))

    def locks(self) -> list[str]:
        return sorted(path.parent.name for path in self.folder.glob("*/lock.json"))

    def holder(self, host: str = "lb1") -> dict[str, Any]:
        holder: dict[str, Any] = json.loads((self.folder / host / "lock.json").read_text())
        return holder


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def appears(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.05)


def test_a_second_run_is_refused_or_waits_by_choice(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    first = fleet.start()
    appears(fleet.started)
    assert fleet.holder()["pid"] == first.pid

    third = fleet.start(release_lock_wait=60, flotilla_playbook="rollback.yml")
    begun = time.monotonic()
    code, output = fleet.run(release_lock_wait=2)
    assert code != 0
    assert 2 < time.monotonic() - begun < 15
    assert f"lb1: {action.user_name()}@{os.uname().nodename} has been deploying since 20" in output
    assert f"(process {first.pid}, site.yml). Wait for it, or, if that run is gone" in output
    assert "ansible-playbook flotilla.fleet.unlock" in output
    assert "TASK [Deploy" not in output

    assert third.stdout
    for line in third.stdout:
        if "lb1: waiting for " in line:
            break
    else:
        pytest.fail("the run does not say that it waits")
    fleet.finish.touch()
    assert ended(first)[0] == 0
    code, output = ended(third)
    assert (code, fleet.locks()) == (0, [])
    log = [json.loads(line) for line in (tmp_path / "lb1" / "audit.jsonl").read_text().splitlines()]
    assert [entry["result"] for entry in log] == ["released", "released"]
    assert set(log[0]) == {"time", "user", "controller", "playbook", "result"}


def test_the_lock_of_a_run_that_was_killed_is_taken_over_and_named(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    first = fleet.start()
    appears(fleet.started)
    first.kill()  # its worker lives on, as a remnant
    first.wait()
    assert fleet.locks() == ["lb1"]
    fleet.finish.touch()
    code, output = fleet.run()
    assert code == 0
    assert "took over the deploy lock of" in output
    assert f"process {first.pid}, site.yml" in output
    assert fleet.locks() == []


def test_another_controllers_lock_is_released_by_playbook_unlock_which_names_its_holder(
    tmp_path: Path,
) -> None:
    fleet = Fleet(tmp_path)
    (tmp_path / "lb1").mkdir()
    (tmp_path / "lb1" / "lock.json").write_text(json.dumps(owner()))
    code, output = fleet.run("unlock")
    assert code == 0
    assert (
        "lb1: released the deploy lock of ann@desk (process 1, site.yml, since 2024-01-02T03:04:05" in output
    )
    assert "changed=1" in output
    code, output = fleet.run("unlock")
    assert "lb1: there was no deploy lock." in output
    assert "changed=0" in output


def test_of_two_runs_that_begin_at_once_one_goes_on(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, reachable=3)
    runs = [fleet.start(), fleet.start()]
    appears(fleet.started)
    while all(run.poll() is None for run in runs):  # the other has to be refused while this one deploys
        time.sleep(0.05)
    assert fleet.locks() == ["lb1", "lb2", "lb3"]
    fleet.finish.touch()
    outcomes = sorted(ended(run) for run in runs)
    assert outcomes[0][0] == 0
    assert outcomes[1][0] != 0
    assert fleet.locks() == []


def test_a_run_that_is_refused_releases_the_locks_it_has_acquired(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, away=1, reachable=3)
    (tmp_path / "lb3").mkdir()
    (tmp_path / "lb3" / "lock.json").write_text(json.dumps(owner()))
    code, output = fleet.run()
    assert code != 0
    assert "lb3: ann@desk has been deploying since 2024-01-02T03:04:05+00:00" in output
    assert (tmp_path / "lb2").exists()
    assert not (tmp_path / "lb4").exists()  # or two runs could refuse each other
    assert "PLAY [Deploy]" not in output
    assert fleet.locks() == ["lb3"]


def test_an_unreachable_load_balancer_does_not_stop_a_run(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, away=1)
    fleet.finish.touch()
    code, output = fleet.run()
    assert code == 4, output  # a host could not be reached
    assert fleet.started.exists()
    assert "failed=0" in output


def test_a_run_ends_when_no_load_balancer_is_reachable(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, reachable=0, away=2)
    code, output = fleet.run()
    assert code == 4, output
    assert "PLAY [Deploy]" not in output

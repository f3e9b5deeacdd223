"""The process that gives a lock its signs of life, and frees it at the end of the run."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible import constants
from ansible_collections.flotilla.fleet.plugins.callback import deploy_lock as callback
from ansible_collections.flotilla.fleet.plugins.module_utils.lock_owner import read_beat
from ansible_collections.flotilla.fleet.plugins.plugin_utils import lock_keeper
from ansible_collections.flotilla.fleet.plugins.plugin_utils.lock_keeper import LOST, Presence

from unit.plugins.deploy_lock.owners import OLDER, owner, uptime

RUN = """
import pathlib, sys, time
from ansible_collections.flotilla.fleet.plugins.plugin_utils.lock_keeper import Presence
file = Presence(pathlib.Path(sys.argv[1])).begin()
print("began", flush=True)
time.sleep(60)
"""


def shell(command: str) -> int:
    return subprocess.run(["sh", "-c", command], check=False).returncode


@pytest.fixture
def presence(tmp_path: Path) -> Presence:
    (tmp_path / "run").mkdir()
    return Presence(tmp_path / "run")


@pytest.fixture(params=["interrupted"])
def run(presence: Presence, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A run, as far as its keepers see it; its parameter tells what an interrupt is to it."""
    at_interrupt = signal.SIG_IGN if request.param == "ignored" else signal.SIG_DFL
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(presence.folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, at_interrupt),
    )
    assert process.stdout
    assert process.stdout.readline() == "began\n"
    yield process
    process.kill()
    process.wait()


def test_a_run_lives_until_its_process_ends_even_before_anybody_has_read_its_exit_code(
    presence: Presence, run: subprocess.Popen[str]
) -> None:
    lives, others = presence.watch(), presence.watch()
    assert lives()
    assert others()
    run.kill()
    os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOWAIT)
    assert not lives()
    assert not others()


def test_a_run_waits_at_its_end_until_its_locks_are_free_and_names_those_that_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(callback, "FREE_SECONDS", 0.4)
    ends: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", ends.append)
    plugin = callback.CallbackModule()
    warned: list[str] = []
    monkeypatch.setattr(plugin._display, "warning", warned.append)
    presence = Presence(tmp_path)
    for host in ("lb1", "lb2"):
        presence.mark(host).touch()
    threading.Timer(0.1, presence.mark("lb1").unlink).start()
    (end,) = ends
    end()
    assert warned == [
        "lb2: can't be reached, so the deploy lock stays there. The next run takes it over in a minute."
    ]
    presence.mark("lb2").unlink()
    end()
    assert len(warned) == 1


def locked(folder: Path, content: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "lock.json").write_text(content)
    return str(folder)


def test_a_beat_tells_the_uptime_to_the_lock_of_its_run_alone(tmp_path: Path) -> None:
    folder = tmp_path / "it's flotilla"
    beat = lock_keeper.beat_command(str(folder), "run1")
    assert shell(beat) == 0  # no such folder
    directory = locked(folder, json.dumps(owner(1)))
    assert shell(beat) == 0
    name, at = (folder / "lock.beat").read_text().split()
    assert name == "run1"
    assert uptime() - 5 < float(at) <= uptime()
    told, silent = read_beat(folder, owner(1))
    assert told == f"run1 {at}"
    assert silent is not None
    assert 0 <= silent < 5
    (folder / "lock.beat").unlink()
    for other in (json.dumps(owner(2)), OLDER, ""):
        locked(folder, other)
        assert shell(beat) == LOST
    (folder / "lock.json").unlink()
    assert shell(lock_keeper.beat_command(directory, "run1")) == 0
    assert list(folder.iterdir()) == []


def test_a_release_frees_the_lock_of_its_run_alone_and_logs_it(tmp_path: Path) -> None:
    folder = tmp_path / "flotilla"
    release = lock_keeper.release_command(str(folder), "run1", '{"message": "it\'s $HOME"}')
    assert shell(release) == 0
    locked(folder, json.dumps(owner(2)))
    assert shell(release) == 0
    assert [path.name for path in folder.iterdir()] == ["lock.json"]
    locked(folder, json.dumps(owner(1)))
    (folder / "lock.beat").write_text("run1 1.5\n")
    assert shell(release) == 0
    assert [path.name for path in folder.iterdir()] == ["audit.jsonl"]
    assert (folder / "audit.jsonl").read_text() == '{"message": "it\'s $HOME"}\n'


def test_where_metrics_are_collected_a_released_lock_is_free_and_its_run_has_failed(tmp_path: Path) -> None:
    folder = tmp_path / "flotilla"
    release = lock_keeper.release_command(str(folder), "run1", "{}", "site.yml", "o'neil")
    (folder / "metrics").mkdir(parents=True)
    locked(folder, json.dumps(owner(2)))
    assert shell(release) == 0
    assert list((folder / "metrics").iterdir()) == [], "the lock is another run's"
    locked(folder, json.dumps(owner(1)))
    assert shell(release) == 0
    assert {path.name for path in (folder / "metrics").iterdir()} == {"lock.prom", "run.prom"}
    lock, run = ((folder / "metrics" / name).read_text() for name in ("lock.prom", "run.prom"))
    assert "flotilla_fleet_lock_since_timestamp_seconds 0\n" in lock
    changing = [line for line in lock.splitlines() if line.startswith("flotilla_fleet_changing")]
    assert abs(float(changing[0].split()[1]) - time.time()) < 5
    assert "flotilla_fleet_last_run_failed 1\n" in run
    assert 'playbook="site.yml",operator="o\'neil",outcome="died"' in run


class Balancer:
    """A load balancer that ends the run after so many commands, and answers them with these exit codes."""

    def __init__(self, run: subprocess.Popen[str], after: int, *codes: int | Exception) -> None:
        self.run, self.after, self.codes = run, after, list(codes)
        self.commands: list[str] = []

    def execute(self, command: str) -> int:
        self.commands.append(command)
        if len(self.commands) == self.after:
            self.run.kill()
        code = self.codes.pop(0) if self.codes else 0
        if isinstance(code, Exception):
            raise code
        return code


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_keeper, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(lock_keeper, "POLL_SECONDS", 0.01)


def test_a_keeper_beats_whether_the_balancer_answers_or_not_and_frees_the_lock_in_the_end(
    presence: Presence, run: subprocess.Popen[str]
) -> None:
    balancer = Balancer(run, 3, 0, ConnectionError(), 255, 255)
    presence.mark("lb1").touch()
    assert lock_keeper.keep(presence, "lb1", balancer.execute, "beat", "release")
    assert balancer.commands[:3] == ["beat"] * 3
    assert balancer.commands[-2:] == ["release"] * 2  # the first found nobody
    assert presence.held() == []


def test_a_keeper_ends_when_the_run_has_released_the_lock(
    presence: Presence, run: subprocess.Popen[str]
) -> None:
    balancer = Balancer(run, 0)
    assert lock_keeper.keep(presence, "lb1", balancer.execute, "beat", "release")
    assert balancer.commands == []


def test_a_keeper_frees_the_lock_though_the_run_has_removed_its_folder(
    presence: Presence, run: subprocess.Popen[str]
) -> None:
    balancer = Balancer(run, 1)
    presence.mark("lb1").touch()

    def execute(command: str) -> int:
        if command == "release":
            return balancer.execute(command)
        for path in presence.folder.iterdir():
            path.unlink()
        presence.folder.rmdir()
        return balancer.execute(command)

    assert lock_keeper.keep(presence, "lb1", execute, "beat", "release")
    assert balancer.commands == ["beat", "release"]


@pytest.mark.parametrize("run", ["interrupted", "ignored"], indirect=True)
def test_a_run_whose_lock_another_one_has_is_ended(
    presence: Presence, run: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_keeper, "INTERRUPT_SECONDS", 2.0)

    def keeper() -> bool:
        return lock_keeper.keep(presence, "lb1", lambda _: LOST, "beat", "release")

    lock_keeper.start(presence, "lb1", run.pid, keeper, "lb1: another run")
    assert run.wait(timeout=30) in (-signal.SIGINT, 130, -signal.SIGTERM)
    assert presence.lost.read_text() == "lb1: another run"
    assert presence.held() == []


def test_a_lock_has_one_keeper(presence: Presence) -> None:
    started = presence.folder / "started"

    def keeper() -> bool:
        with started.open("a") as file:
            file.write("one\n")
        return True

    for _ in range(3):
        lock_keeper.start(presence, "lb1", 0, keeper, "")
    deadline = time.monotonic() + 10
    while not started.exists() or not started.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert started.read_text() == "one\n"

"""Whole runs of ansible-playbook: one deploys at a time, and none leaves its lock behind, however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.fleet.plugins.plugin_utils.operator import user_name

from unit.plugins.deploy_lock.owners import OLDER, beat

ROOT = Path(__file__).parents[2]


ANSIBLE_PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))


# A callback that Ansible loads before it forks: the times of signs of life are a tenth of what they are.
FAST = """
from ansible.plugins.callback import CallbackBase
from ansible_collections.flotilla.fleet.plugins.plugin_utils import lock_keeper
for name in ("BEAT_SECONDS", "SILENT_SECONDS", "WATCH_SECONDS"):
    setattr(lock_keeper, name, getattr(lock_keeper, name) / 10)
class CallbackModule(CallbackBase):
    CALLBACK_NAME = "fast"
    CALLBACK_TYPE = "aggregate"
"""


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
        (folder / "callbacks").mkdir()
        (folder / "callbacks" / "fast.py").write_text(FAST)
        # Bounded, so that a test that fails leaves nothing behind.
        wait = f"timeout 60 sh -c 'until test -e {self.finish}; do sleep 0.2; done'"
        fail = "test ! -e fail || exit 1"
        work = {
            "name": "Deploy",
            "hosts": "load_balancers",
            "gather_facts": False,
            "tasks": [
                {"ansible.builtin.raw": f"touch {self.started}; {wait}; {fail}"},
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
                "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
                "ANSIBLE_CALLBACK_PLUGINS": f"{self.folder}/callbacks",
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

    begun = time.monotonic()
    code, output = fleet.run(release_lock_wait=2)
    assert code != 0
    assert 2 < time.monotonic() - begun < 15
    assert f"lb1: {user_name()}@{os.uname().nodename} has been deploying since 20" in output
    assert f"(process {first.pid}, site.yml), and gave its last sign of life" in output
    assert "TASK [Deploy" not in output

    third = fleet.start(release_lock_wait=60, flotilla_playbook="rollback.yml")
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
    assert set(log[0]) == {"time", "started", "user", "controller", "playbook", "result"}


def freed(fleet: Fleet) -> None:
    """Wait until no lock is held any more, as a run does that follows."""
    deadline = time.monotonic() + 15
    while fleet.locks():
        assert time.monotonic() < deadline, "the lock is still there"
        time.sleep(0.05)


def results(folder: Path) -> list[str]:
    return [json.loads(line)["result"] for line in (folder / "audit.jsonl").read_text().splitlines()]


def test_a_run_that_fails_in_the_middle_holds_no_lock_when_it_has_ended(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, reachable=2)
    (tmp_path / "fail").touch()
    fleet.finish.touch()
    code, output = fleet.run()
    assert code == 2, output
    assert fleet.locks() == []
    assert results(tmp_path / "lb1") == results(tmp_path / "lb2") == ["failed"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_by_a_signal_frees_its_lock(tmp_path: Path, how: signal.Signals) -> None:
    fleet = Fleet(tmp_path)
    run = fleet.start()
    appears(fleet.started)
    appears(tmp_path / "lb1" / "lock.beat")
    run.send_signal(how)
    run.wait()
    if how != signal.SIGINT:  # of which the run does not wait for its end
        freed(fleet)
    assert fleet.locks() == []
    assert results(tmp_path / "lb1") == ["failed"]
    fleet.finish.touch()  # what is left of the run ends


def keepers(run: subprocess.Popen[str]) -> list[int]:
    """Return the processes that keep the locks of a run: they are its, and no children of it."""
    listing = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid=,args="], check=True, capture_output=True, text=True
    )
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
    (command,) = {args for pid, _, args in rows if int(pid) == run.pid}
    family = {run.pid}
    for pid, parent, _ in rows:
        if int(parent) in family:
            family.add(int(pid))
    return [
        int(pid)
        for pid, _, args in rows
        if args == command and int(pid) not in family and cwd(int(pid)) == cwd(run.pid)
    ]


def cwd(process: int) -> Path:
    return Path(f"/proc/{process}/cwd").readlink()


def test_the_lock_of_a_run_whose_controller_is_dead_is_taken_over_and_a_live_one_s_is_not(
    tmp_path: Path,
) -> None:
    fleet = Fleet(tmp_path, away=1, reachable=2)
    first = fleet.start()
    appears(fleet.started)
    appears(tmp_path / "lb2" / "lock.beat")
    appears(tmp_path / "lb3" / "lock.beat")

    # As long as a break in the network was: the load balancers have heard nothing for a while.
    name = fleet.holder("lb2")["run"]
    for balancer in ("lb2", "lb3"):
        beat(tmp_path / balancer, name, 300)
    code, output = fleet.run()
    assert code != 0
    assert "and gave its last sign of life" in output
    assert first.poll() is None

    dead = keepers(first)
    assert len(dead) == 2
    for process in (*dead, first.pid):
        os.kill(process, signal.SIGKILL)
    first.wait()
    assert fleet.locks() == ["lb2", "lb3"]
    for balancer in ("lb2", "lb3"):
        beat(tmp_path / balancer, name, 2)
    fleet.started.unlink()
    fleet.finish.touch()
    code, output = fleet.run(release_lock_wait=10)
    assert code == 4, output  # a host could not be reached
    assert f"lb2: took over the deploy lock of {user_name()}@" in output
    assert f"(process {first.pid}, site.yml, since 20" in output
    assert fleet.started.exists()
    assert fleet.locks() == []
    assert results(tmp_path / "lb3") == ["taken over", "released"]


def test_a_run_whose_lock_another_run_has_ends_and_says_so(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    run = fleet.start()
    appears(fleet.started)
    appears(tmp_path / "lb1" / "lock.beat")
    (tmp_path / "lb1" / "lock.json").write_text(OLDER)
    code, output = ended(run)
    assert code == 99
    assert "flotilla: lb1: another run has taken the deploy lock over" in output
    assert fleet.holder()["user"] == "ann"
    fleet.finish.touch()


def test_another_controllers_lock_is_released_by_playbook_unlock_which_names_its_holder(
    tmp_path: Path,
) -> None:
    fleet = Fleet(tmp_path, reachable=2)
    (tmp_path / "lb1").mkdir()
    (tmp_path / "lb1" / "lock.json").write_text(OLDER)
    code, output = fleet.run("unlock")
    assert code == 0
    assert fleet.locks() == []
    assert (
        "lb1: released the deploy lock of ann@desk (process 1, site.yml, since 2024-01-02T03:04:05" in output
    )
    assert re.search(r"^lb1 .* changed=1 ", output, re.MULTILINE)
    assert "lb2: there was no deploy lock." in output
    assert re.search(r"^lb2 .* changed=0 ", output, re.MULTILINE)


def test_of_two_runs_that_begin_at_once_one_goes_on(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, reachable=2)
    runs = [fleet.start(), fleet.start()]
    appears(fleet.started)
    while all(run.poll() is None for run in runs):  # the other has to be refused while this one deploys
        time.sleep(0.05)
    assert fleet.locks() == ["lb1", "lb2"]
    fleet.finish.touch()
    outcomes = sorted(ended(run) for run in runs)
    assert outcomes[0][0] == 0
    assert outcomes[1][0] != 0
    assert fleet.locks() == []


def test_a_run_that_is_refused_releases_the_locks_it_has_acquired(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, away=1, reachable=3)
    (tmp_path / "lb3").mkdir()
    (tmp_path / "lb3" / "lock.json").write_text(OLDER)
    code, output = fleet.run()
    assert code != 0
    assert "lb3: ann@desk has been deploying since 2024-01-02T03:04:05+00:00" in output
    assert (tmp_path / "lb2").exists()
    assert not (tmp_path / "lb4").exists()  # or two runs could refuse each other
    assert "PLAY [Deploy]" not in output
    assert fleet.locks() == ["lb3"]


def test_a_run_ends_when_no_load_balancer_is_reachable(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, reachable=0, away=2)
    code, output = fleet.run()
    assert code == 4, output
    assert "PLAY [Deploy]" not in output

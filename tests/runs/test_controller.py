"""The controller may be any Linux or macOS: what runs there gets along without /proc and without GNU's tools."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent

TOOLS = ("sh", "touch")
"""All that a run may find on the controller, besides SSH and the Python that runs Ansible."""

UNSHARE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]

HIDE = 'mount --bind /proc "$1" && mount -t tmpfs none /proc && shift && exec env "$@"'
"""Hides /proc from a program, whose processes find it in the folder that is the first argument."""

SSH = """#!/bin/sh
for command; do :; done
exec {unshare} --mount /bin/sh -c '
/bin/mount --bind {proc} /proc
PATH={path}; export PATH
exec /bin/sh -c "$1"
' sh "$command"
"""
"""Stands for SSH to a machine that has all that this one has."""

BARE = """
import os, pathlib, shutil, sys
found = [*pathlib.Path("/proc").iterdir(), *filter(shutil.which, ("awk", "cat", "grep", "ps", "sed", "sha256sum"))]
if found:
    sys.exit(f"not hidden: {found}")
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a program, unless this system has what the test takes away."""


class Controller:
    """Runs playbooks as on a system that has neither /proc nor GNU's tools, with its home on another file system."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        self.tools, self.proc = folder / "tools", folder / "proc"
        for made in (self.tools, self.proc):
            made.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (self.tools / tool).symlink_to(found)
        unshare = shutil.which("unshare")
        ssh = self.tools / "ssh"
        ssh.write_text(SSH.format(unshare=unshare, proc=self.proc, path=os.environ["PATH"]))
        ssh.chmod(0o755)
        balancer = {"ansible_host": "192.0.2.1", "ansible_python_interpreter": sys.executable}
        node = {"ansible_host": "192.0.2.11", "ansible_python_interpreter": sys.executable}
        groups = {"load_balancers": {"hosts": {"lb": balancer}}, "model_nodes": {"hosts": {"node1": node}}}
        (folder / "hosts.json").write_text(json.dumps({"all": {"children": groups}}))

    def playbook(self, tasks: list[dict[str, Any]]) -> None:
        """Write a playbook: the real checks and lock, then `tasks` on the load balancer."""
        lock: list[dict[str, Any]] = yaml.safe_load((ROOT / "playbooks/lock.yml").read_text())
        directory = {"flotilla.fleet.deploy_lock": {"directory": str(self.folder / "balancer")}}
        plays: list[dict[str, Any]] = [
            {"ansible.builtin.import_playbook": f"{ROOT}/playbooks/preflight.yml"},
            *({**play, "become": False, "module_defaults": directory} for play in lock),
            {
                "name": "Deploy",
                "hosts": "load_balancers",
                "gather_facts": False,
                "module_defaults": directory,
                "tasks": tasks,
            },
        ]
        (self.folder / "site.yml").write_text(json.dumps(plays))

    def start(self) -> subprocess.Popen[str]:
        (self.folder / "bare.py").write_text(BARE)
        environment = {
            "PATH": f"{PROGRAMS}:{self.tools}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_NOCOLOR": "1",
            "COLUMNS": "1000",
        }
        words = [f"{name}={value}" for name, value in environment.items()]
        run = [sys.executable, "bare.py", str(PROGRAMS / "ansible-playbook"), "-i", "hosts.json", "site.yml"]
        return subprocess.Popen(
            [*UNSHARE, "sh", "-c", HIDE, "sh", str(self.proc), "--ignore-environment", *words, *run],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as home:
        assert Path(home).stat().st_dev != tmp_path.stat().st_dev
        yield Controller(tmp_path, Path(home))


WORK: list[dict[str, Any]] = [
    {
        "name": "Issue the certificates",
        "ansible.builtin.include_role": {"name": "flotilla.fleet.internal_ca", "rolespec_validate": False},
        "vars": {
            "registry_listen_address": "192.0.2.1",
            "registry_endpoint": "192.0.2.1:5000",
            "registry_push_endpoint": "192.0.2.1:5080",
            "internal_ca_lost": True,  # no machine has been inspected
        },
    },
    {
        "name": "Hash the image",
        "ansible.builtin.include_role": {
            "name": "flotilla.fleet.model_image",
            "tasks_from": "hash",
            "rolespec_validate": False,
        },
    },
    {"name": "Show the hash", "ansible.builtin.debug": {"msg": "image {{ model_image_hash }}"}},
    {
        "name": "Release the lock",
        "flotilla.fleet.deploy_lock": {"state": "released", "audit": {"result": "released"}},
    },
]


def test_a_run_needs_neither_proc_nor_gnus_tools_on_the_controller(controller: Controller) -> None:
    controller.playbook(WORK)
    run = controller.start()
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 0, output
    assert "image " in output
    assert not (controller.folder / "balancer" / "lock.json").exists()
    log = (controller.folder / "balancer" / "audit.jsonl").read_text().splitlines()
    assert [json.loads(line)["result"] for line in log] == ["released"]


def appears(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.05)


def test_the_lock_of_a_killed_run_is_freed_without_proc(controller: Controller) -> None:
    started = controller.folder / "started"
    controller.playbook([{"ansible.builtin.raw": f"touch {started}; sleep 20"}])
    run = controller.start()
    appears(started)
    appears(controller.folder / "balancer" / "lock.beat")
    run.send_signal(signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 15
    while (controller.folder / "balancer" / "lock.json").exists():
        assert time.monotonic() < deadline, "the lock is still there"
        time.sleep(0.05)


@pytest.mark.parametrize("command", ["up", "down", "test"])
def test_a_mac_is_told_what_to_run_instead(tmp_path: Path, command: str) -> None:
    """Nothing is installed, and no playbook runs."""
    (tmp_path / "uname").write_text("#!/bin/sh\necho Darwin\n")
    (tmp_path / "uname").chmod(0o755)
    made = subprocess.run(
        ["make", "--no-print-directory", command],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 2
    assert made.stdout == ""
    assert "needs a Linux machine" in made.stderr
    assert "runs Darwin" in made.stderr
    assert "ansible-playbook site.yml -i inventory/mine" in made.stderr

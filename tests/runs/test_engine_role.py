"""The real role docker_engine: it leaves a machine alone that has all, and names what another lacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TOOLS = ["docker", "dockerd", "ip", "iptables", "python:requests", "ss"]


def machine(distribution: str, has: list[str], *, engine: bool) -> dict[str, Any]:
    found = {"distributions": [distribution], "engine": engine, "engine_firewall": "", "has": has}
    return {"flotilla_machine": {**found, "systemd": False, "files": {}, "links": {}}}


def test_a_machine_that_has_all_is_left_alone_and_one_that_cannot_get_it_is_named(tmp_path: Path) -> None:
    hosts = {
        "ready": machine("arch", TOOLS, engine=True),
        "bare": machine("rhel-9", ["dnf", "ip"], engine=False),
        "other": machine("opensuse-leap-15", ["docker", "ip", "ss"], engine=True),
    }
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": {name: {**local, **facts} for name, facts in hosts.items()}}}
    tasks = [
        {"ansible.builtin.include_role": {"name": "flotilla.fleet.docker_engine", "rolespec_validate": False}}
    ]
    play = {"name": "Install", "hosts": "all", "gather_facts": False, "tasks": tasks}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    (tmp_path / "engine.yml").write_text(json.dumps([play]))
    settings = {
        "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_NOCOLOR": "1",
        "COLUMNS": "1000",
    }
    run = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.json", "engine.yml"],
        cwd=tmp_path,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 2, run.stdout + run.stderr
    recap = {line.split()[0]: line for line in run.stdout.splitlines() if "unreachable=" in line}
    assert "changed=0" in recap["ready"]
    assert "failed=0" in recap["ready"]
    assert "bare: no Docker engine answers on /run/docker.sock, and none is known for rhel-9" in run.stdout
    assert "other: opensuse-leap-15 lacks the program iptables, Python's module requests" in run.stdout
    assert all(
        "changed=0" in line and "failed=1" in recap[name] for name, line in recap.items() if name != "ready"
    )

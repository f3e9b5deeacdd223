"""The deploy lock goes with its run, the authorities stay, and machines may have a proxy in their environment."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.deploy import FAILED, FINE, deploy
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.playbook import Run

FLOTILLA = "/var/lib/flotilla"
ENVIRONMENT = "/etc/environment"
SUDO = "/etc/sudoers.d/environment"
DEAD_PROXY = "http://127.0.0.1:1"
# A run that does nothing for a while in the middle, as one does that builds an image or bakes a release.
SLOW = "Take one's time"
SLOW_RUN = f"""
- import_playbook: flotilla.fleet.lock
  vars: {{flotilla_playbook: slow.yml}}
- name: {SLOW}
  hosts: load_balancers
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.command: sleep {{{{ seconds }}}}
    - flotilla.fleet.deploy_lock: {{state: released}}
"""


def said(output: str) -> str:
    """Return what a run wrote, on one line: Ansible breaks long messages."""
    return " ".join(output.split())


def locked(fleet: Fleet) -> list[str]:
    """Return the load balancers where a lock lies."""
    return [
        balancer.name
        for balancer in fleet.load_balancers
        if balancer.attempt(["test", "-e", f"{FLOTILLA}/lock.json"]).returncode == 0
    ]


def last_entries(fleet: Fleet) -> list[dict[str, Any]]:
    """Return the last line of each load balancer's audit log."""
    lines = [balancer.run("tail", "-n1", f"{FLOTILLA}/audit.jsonl") for balancer in fleet.load_balancers]
    return [json.loads(line) for line in lines]


def certificates(fleet: Fleet) -> dict[str, str]:
    """Return a digest of every certificate and key, by machine and file."""
    listing = "find /etc/flotilla /etc/docker/certs.d -type f | sort | xargs sha256sum"
    return {machine.name: machine.run("sh", "-c", listing) for machine in fleet.machines}


def test_a_controller_without_the_authorities_is_refused_and_leaves_no_lock(
    fleet: Fleet, tmp_path: Path
) -> None:
    before, folder = certificates(fleet), tmp_path / "elsewhere"
    with under_load(fleet.urls) as load:
        for limit in (["--limit", "node2"], []):
            outcome = deploy(fleet, "site.yml", None, *limit, internal_ca_directory=str(folder))
            told = said(outcome.output)
            assert outcome.code == FAILED, told[-6000:]
            assert f"{folder} holds no authority of this inventory's fleet, “elsewhere”" in told
            assert f"certificates of the fleet “{fleet.authorities.name}” (an authority of" in told
            assert not folder.exists()
            # It failed in the middle, with the lock in its hands.
            assert locked(fleet) == []
        assert {entry["result"] for entry in last_entries(fleet)} == {"failed"}
    load.record().assert_nothing_lost()
    assert certificates(fleet) == before


def test_a_live_run_keeps_its_lock_and_a_dead_one_loses_it_within_a_minute(
    fleet: Fleet, tmp_path: Path
) -> None:
    playbook = tmp_path / "slow.yml"
    playbook.write_text(SLOW_RUN)
    slow = Run(str(playbook), fleet.inventory, "-e", "seconds=600")
    slow.wait_for_play(SLOW)
    begun = time.monotonic()
    waiting = Run(str(playbook), fleet.inventory, "-e", "seconds=0", "-e", "release_lock_wait=62")
    assert waiting.finish() == FAILED
    assert time.monotonic() - begun > 60
    assert "and gave its last sign of life" in said(waiting.output)
    assert "took over" not in said(waiting.output)
    assert locked(fleet) == [balancer.name for balancer in fleet.load_balancers]

    slow.cut_power()
    cut = time.monotonic()
    heir = Run(str(playbook), fleet.inventory, "-e", "seconds=0", "-e", "release_lock_wait=120")
    heir.wait_for_task_of(SLOW)
    assert time.monotonic() - cut < 60
    assert heir.finish() == FINE
    for balancer in fleet.load_balancers:
        assert f"{balancer.name}: took over the deploy lock of" in said(heir.output)
    assert locked(fleet) == []


@pytest.fixture
def proxied(fleet: Fleet) -> Iterator[None]:
    """Give every machine a proxy that nobody answers at, as operators do for all programs, sudo's too."""
    before = {machine: machine.run("cat", ENVIRONMENT) for machine in fleet.machines}
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    for machine in before:
        machine.run("tee", ENVIRONMENT, stdin="".join(f'{name}="{DEAD_PROXY}"\n' for name in names))
        machine.run("tee", SUDO, stdin=f"Defaults env_file={ENVIRONMENT}\n")
    yield
    for machine, content in before.items():
        machine.run("rm", "--force", SUDO)  # two hosts may be one machine
        machine.run("tee", ENVIRONMENT, stdin=content)


@pytest.mark.usefixtures("proxied")
def test_a_release_goes_live_on_machines_with_a_proxy_in_their_environment(
    fleet: Fleet, new_model: Path
) -> None:
    told = ["ansible", "all", "-i", str(fleet.inventory), "--limit", "node2", "--become"]
    command = [*told, "-m", "ansible.builtin.command", "-a", "printenv https_proxy"]
    assert DEAD_PROXY in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    with under_load(fleet.urls) as load:
        deploy(fleet, "site.yml", new_model).assert_ended(FINE, "released")
    load.record().assert_nothing_lost()

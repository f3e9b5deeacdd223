"""The real preflight playbook on bad inventories: it fails, says why, and no host is contacted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

Deploy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def contacted(tmp_path: Path) -> Path:
    """A file that is there once Ansible has tried to reach a host."""
    return tmp_path / "contacted"


@pytest.fixture
def deploy(tmp_path: Path, contacted: Path) -> Deploy:
    """Runs the preflight on an inventory, followed by a play that connects to every host."""
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\ntouch {contacted}\nexit 255\n")
    ssh.chmod(0o755)
    playbook = tmp_path / "site.yml"
    playbook.write_text(
        f"- ansible.builtin.import_playbook: {ROOT}/playbooks/preflight.yml\n"
        "- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.raw: 'true', check_mode: false}]\n"
    )

    def run(inventory: str | Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        if isinstance(inventory, str):
            (tmp_path / "hosts.ini").write_text(inventory)
            inventory = tmp_path / "hosts.ini"
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory)]
        settings = {
            "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_SSH_EXECUTABLE": str(ssh),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "true",  # a task that finds no mistake is skipped, and shows it ran
        }
        return subprocess.run(
            [*command, *options, str(playbook)],
            cwd=ROOT,
            env={**os.environ, **settings, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


REFUSES = "Refuse an inventory with mistakes"


def test_a_good_inventory_goes_on_to_the_hosts(deploy: Deploy, contacted: Path) -> None:
    result = deploy(ROOT / "inventory" / "example", "--check")
    assert REFUSES in result.stdout
    assert "changed=0" in result.stdout
    assert "failed=0" in result.stdout
    assert contacted.exists()


def test_every_inventory_in_the_repository_is_tested_here() -> None:
    assert {path.name for path in ROOT.glob("inventory/*")} == {"example", "local"}


def test_the_inventory_of_this_machine_is_good(deploy: Deploy) -> None:
    # The tag leaves out the play that connects. It is the only one that a run may choose.
    result = deploy(ROOT / "inventory" / "local", "--tags", "always")
    assert result.returncode == 0, result.stdout + result.stderr
    assert REFUSES in result.stdout


NO_HOST = "The inventory has no host: add hosts to load_balancers and model_nodes"


@pytest.mark.parametrize(
    ("inventory", "options", "messages"),
    [
        pytest.param(
            """
[load_balancers]
lb ansible_host=192.0.2.1 nginx_lb_virtual_address=192.0.2.100
[model_nodes]
n1 ansible_host=192.0.2.11
n2 ansible_host=192.0.2.12
n3 ansible_host=192.0.2.12 model_endpoint_weight=3x
[model_nodes:vars]
model_endpoint_fast_lane=true
model_endpoint_wieght=3
model_endpoint_threads={{ nope }}
""",
            ["--limit", "n1", "--check", "-e", "nginx_lb_prot=8080 nginx_lb_canary_percent=5"],
            [
                "- lb: nginx_lb_virtual_address is now virtual_address_ip: rename it",
                "- lb, n1, n2, n3: nginx_lb_canary_percent is now release_canary_percent: rename it",
                "- n1, n2, n3: model_endpoint_fast_lane is now model_endpoint_fast_path: rename it",
                "- n3: model_endpoint_weight is '3x': set a whole number of at least 1",
                "- lb, n1, n2, n3: nginx_lb_prot is '8080': there is no such variable: "
                "did you mean nginx_lb_port?",
                "- n1, n2, n3: model_endpoint_wieght is 3: there is no such variable: "
                "did you mean model_endpoint_weight?",
                "- n1, n2, n3: model_endpoint_threads is a template that fails ('nope' is undefined): write",
                "- n2 (5001), n3 (5001): model_endpoint_port overlaps at 192.0.2.12",
            ],
            id="all-mistakes-at-once-outside-the-limit-too",
        ),
        pytest.param(
            """
[model_nodes]
n1 ansible_connection={{nope}} ansible_host={{nope}}
n2 ansible_host=192.0.2.12
""",
            ["--limit", "n1", "--tags", "always"],
            [
                "- load_balancers: the group has no host",
                "- n1: ansible_host is a template that fails ('nope' is undefined)",
            ],
            id="no-load-balancer-a-broken-first-host-a-limit-and-a-tag",
        ),
        pytest.param("", [], [NO_HOST], id="no-host"),
        pytest.param("", ["--limit", "n1"], [NO_HOST], id="no-host-and-a-limit"),
    ],
)
def test_a_bad_inventory_ends_before_any_host(
    inventory: str, options: list[str], messages: list[str], deploy: Deploy, contacted: Path
) -> None:
    result = deploy(inventory, *options)
    output = result.stdout + result.stderr
    assert result.returncode != 0
    for message in messages:
        assert message in output, output
    assert "Traceback" not in output
    assert not contacted.exists()


@pytest.mark.parametrize(
    ("options", "environment", "reason"),
    [
        (["--tags", "some"], {}, "--tags some is refused, as it would leave out every step without this tag"),
        (["--skip-tags", "always"], {}, "--skip-tags always is refused"),
        (["--start-at-task", "No such task"], {}, "--start-at-task 'No such task' is refused"),
        ([], {"ANSIBLE_STRATEGY": "free"}, "The strategy 'free' is refused"),
    ],
    ids=["tags", "skip-tags", "start-at-task", "strategy"],
)
def test_an_option_that_would_leave_out_steps_is_refused(
    options: list[str], environment: dict[str, str], reason: str, deploy: Deploy, contacted: Path
) -> None:
    environment["ANSIBLE_STDOUT_CALLBACK"] = "flotilla.fleet.steps"
    result = deploy(ROOT / "inventory" / "example", *options, **environment)
    assert result.returncode != 0
    assert reason in result.stderr
    # As any other failure ends.
    where, words, fix = result.stdout.splitlines()[-3:]
    assert where.startswith("the controller failed at “Check the options of the command line”")
    assert reason in words
    assert fix.startswith("  fix: ")
    assert not contacted.exists()


def test_root_for_every_host_would_reach_the_controller_too(deploy: Deploy, contacted: Path) -> None:
    hosts = "[load_balancers]\nlb ansible_host=192.0.2.1\n[model_nodes]\nn1 ansible_host=192.0.2.2\n"
    refused = deploy(f"{hosts}[all:vars]\nansible_become=true\n")
    assert refused.returncode != 0
    assert (
        "- localhost: ansible_become is 'true': this holds for the controller's own tasks" in refused.stdout
    )
    assert not contacted.exists()
    deploy(f"{hosts}[load_balancers:vars]\nansible_become=true\n", "--check")
    assert contacted.exists()


def test_an_inventory_that_may_be_read_in_part_is_refused(
    deploy: Deploy, contacted: Path, tmp_path: Path
) -> None:
    loose = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "false"}
    folder = tmp_path / "inventory"
    shutil.copytree(ROOT / "inventory" / "example", folder)
    (folder / "more.yml").write_text("[model_nodes]\nnode4\n")
    refused = deploy(folder, **loose)
    assert refused.returncode != 0
    assert f"The inventory {folder} is more than one file" in " ".join(refused.stdout.split())
    assert not contacted.exists()
    # A single file is read or not.
    deploy(folder / "hosts.yml", "--check", **loose)
    assert contacted.exists()

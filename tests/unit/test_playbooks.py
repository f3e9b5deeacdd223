"""Which plays of a playbook have hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def listing(playbook: str, *, check: bool = False) -> list[str]:
    """Return what Ansible says of the plays of a playbook and their hosts, which are this machine's fleet."""
    return subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *("-i", ROOT / "inventory" / "local", "-e", "node=endpoint1", "--list-hosts"),
            *(["--check"] if check else []),
            ROOT / playbook,
        ],
        env={**os.environ, "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout.splitlines()


@pytest.mark.parametrize(
    ("playbook", "check", "compares"),
    [
        ("playbooks/site.yml", True, True),
        ("playbooks/site.yml", False, False),
        ("playbooks/update.yml", True, True),
        # What site.yml would mend is not what this operation would do.
        ("playbooks/drain.yml", True, False),
        ("playbooks/status.yml", False, True),
    ],
)
def test_the_whole_fleet_is_compared_for_status_and_for_site_in_check_mode(
    playbook: str, check: bool, compares: bool
) -> None:
    plays = [
        line
        for line in listing(playbook, check=check)
        if "Compare what is wanted with what was found" in line
    ]
    assert ["endpoint1" in play for play in plays] == [compares]


@pytest.mark.parametrize(
    ("playbook", "asks"), [("playbooks/update.yml", True), ("playbooks/site.yml", False)]
)
def test_debian_is_asked_for_an_update_alone(playbook: str, asks: bool) -> None:
    listed = listing(playbook)
    plays = [line for line in listed if ": Ask Debian for newer packages" in line]
    assert ["gateway" in play for play in plays] == [asks]

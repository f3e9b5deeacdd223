"""Which plays of a playbook have hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("playbook", "check", "compares"),
    [
        ("playbooks/site.yml", True, True),
        ("playbooks/site.yml", False, False),
        # What site.yml would mend is not what this operation would do.
        ("playbooks/drain.yml", True, False),
        ("playbooks/status.yml", False, True),
    ],
)
def test_the_whole_fleet_is_compared_for_status_and_for_site_in_check_mode(
    playbook: str, check: bool, compares: bool
) -> None:
    listed = subprocess.run(
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
    ).stdout
    plays = [line for line in listed.splitlines() if "Compare what is wanted with what was found" in line]
    assert ["endpoint1" in play for play in plays] == [compares]

"""Which plays of a playbook have hosts, and what variables playbooks read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

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


DEFAULTS = {
    name
    for path in ROOT.glob("roles/*/defaults/main.yml")
    for name in yaml.safe_load(path.read_text(encoding="utf-8")) or ()
}


def read_outside_roles(text: str) -> Iterator[str]:
    """Yield the variables with a role's default that the templates of a playbook read as if they were always there.

    A role's defaults hold in its own tasks alone: elsewhere a setting that the inventory leaves out is undefined.
    """
    for template in re.findall(r"\{\{(.*?)\}\}", text, re.DOTALL):
        bare = re.sub(r"'[^']*'", "", template)
        for name, follows in re.findall(r"(?<![.\w])([a-z_]+)\b([^|,)]*\|\s*default\()?", bare):
            if name in DEFAULTS and not follows:
                yield name


@pytest.mark.parametrize("path", sorted(ROOT.glob("playbooks/*.yml")), ids=lambda path: path.stem)
def test_a_playbook_reads_no_default_of_a_role(path: Path) -> None:
    assert list(read_outside_roles(path.read_text(encoding="utf-8"))) == []


def test_a_default_of_a_role_that_a_playbook_reads_is_found() -> None:
    text = "{{ release_canary_key }} {{ release_lock_wait | default(0) }} {{ setting(host, 'release_canary_key') }}"
    assert list(read_outside_roles(text)) == ["release_canary_key"]

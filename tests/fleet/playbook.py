"""Runs of the project's playbooks, and what they say they changed."""

import os
import re
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[2]
RECAP_LINE = re.compile(r"^(?P<host>\S+)\s*: ok=\d+\s+changed=(?P<changed>\d+)", re.MULTILINE)


def attempt_playbook(playbook: str, inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook and return how it went, all that it wrote in `stdout`."""
    return subprocess.run(
        ["ansible-playbook", "--inventory", str(inventory), *arguments, playbook],
        check=False,
        cwd=PROJECT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_playbook(playbook: str, inventory: Path, *arguments: str) -> dict[str, int]:
    """Run a playbook that must succeed and return the number of changed tasks of each host it touched."""
    done = attempt_playbook(playbook, inventory, *arguments)
    assert done.returncode == 0, f"{' '.join(done.args)} failed:\n{done.stdout[-6000:]}"
    return {line["host"]: int(line["changed"]) for line in RECAP_LINE.finditer(done.stdout)}


def refusal(playbook: str, inventory: Path, *arguments: str) -> str:
    """Run a playbook that must fail and return what it wrote, on one line."""
    done = attempt_playbook(playbook, inventory, *arguments)
    assert done.returncode != 0, f"{' '.join(done.args)} should have failed:\n{done.stdout[-6000:]}"
    return " ".join(done.stdout.split())

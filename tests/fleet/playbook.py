"""Runs of the project's playbooks, and what they say they changed."""

import os
import re
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[2]
RECAP_LINE = re.compile(r"^(?P<host>\S+)\s*: ok=\d+\s+changed=(?P<changed>\d+)", re.MULTILINE)


def run_playbook(playbook: str, inventory: Path, *arguments: str) -> dict[str, int]:
    """Run a playbook that must succeed and return the number of changed tasks of each host it touched."""
    command = ["ansible-playbook", "--inventory", str(inventory), *arguments, playbook]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(
        command,
        check=False,
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout[-6000:]}"
    return {line["host"]: int(line["changed"]) for line in RECAP_LINE.finditer(done.stdout)}

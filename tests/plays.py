"""Plays that tests and benchmarks run for the results of their tasks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def results_of(playbook: Path, inventory: Path, host: str) -> list[dict[str, Any]]:
    """Run a playbook of one play and return the result of each task on `host`. Raises RuntimeError if it fails."""
    process = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(playbook)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if process.returncode:
        raise RuntimeError(process.stdout + process.stderr)
    return [task["hosts"][host] for task in json.loads(process.stdout)["plays"][0]["tasks"]]

"""Playbooks that are run and timed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from report import Figures

PROJECT = Path(__file__).resolve().parent.parent
PLAY = re.compile(r"^PLAY \[(.*)\]")


def run_playbook(playbook: str, inventory: Path, variables: dict[str, Any]) -> Figures:
    """Run a playbook; return the `seconds` it took, those of its `plays`, and how many tasks `changed` something.

    What a run leaves on the controller (connections, the internal CA, verdicts) goes into the inventory's folder.

    Raises RuntimeError with the end of its output when it fails.
    """
    arguments = ["--inventory", str(inventory), "--extra-vars", json.dumps(variables)]
    environ = {
        **os.environ,
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(inventory.parent / "ssh"),
        "XDG_DATA_HOME": str(inventory.parent),
        "XDG_STATE_HOME": str(inventory.parent),
    }
    began = time.monotonic()
    process = subprocess.Popen(
        ["ansible-playbook", playbook, *arguments],
        cwd=PROJECT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        plays, output = time_plays(process.stdout or ())
        if process.wait():
            raise RuntimeError(f"{playbook} failed with {inventory.name}:\n{output[-6000:]}")
    finally:
        process.terminate()
        process.wait()
    seconds = round(time.monotonic() - began, 2)
    changed = sum(map(int, re.findall(r"\bchanged=(\d+)", output)))
    return {"seconds": seconds, "plays": plays, "changed": changed}


def time_plays(lines: Iterable[str]) -> tuple[dict[str, float], str]:
    """Read a run's output as it is written; return the seconds that went by from each play's start, and the output."""
    plays: dict[str, float] = {}
    output = []
    play, since = "start", time.monotonic()

    def end() -> None:
        plays[play] = round(plays.get(play, 0) + time.monotonic() - since, 2)

    for line in lines:
        output.append(line)
        if match := PLAY.match(line):
            end()
            play, since = match[1], time.monotonic()
    end()
    return plays, "".join(output)

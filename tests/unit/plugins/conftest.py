"""What the tests of plugins share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
MODULES = ROOT / "plugins" / "modules"

RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def run_module(tmp_path: Path) -> RunModule:
    """Run a module of plugins/modules as a process of its own, as Ansible does on a host, and return its result."""

    def run(name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        complete = {
            **arguments,
            "_ansible_check_mode": check,
            "_ansible_remote_tmp": str(tmp_path / "ansible"),
        }
        process = subprocess.run(
            [sys.executable, str(MODULES / f"{name}.py")],
            env={**os.environ, "PYTHONPATH": str(ROOT / ".collections")},
            input=json.dumps({"ANSIBLE_MODULE_ARGS": complete}),
            capture_output=True,
            text=True,
            check=False,
        )
        result: dict[str, Any] = json.loads(process.stdout.strip().splitlines()[-1])
        return result

    return run

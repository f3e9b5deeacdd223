"""Runs a module of plugins/modules as a process of its own, as Ansible does on a host.

The processes are forked from one that has imported what all modules need, because the import takes ten times as long
as most modules run.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    [
        "pytest",  # multiprocessing imports the main program, and that imports pytest
        "ansible.module_utils.basic",
        "cryptography.hazmat.primitives.asymmetric.ec",
        "cryptography.hazmat.primitives.serialization",
        "cryptography.x509",
    ]
)


def run(name: str, arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run module `name` with `arguments`, in the environment of this process, and return its result.

    `folder` is for the files between the processes.
    """
    given, answer = folder / f"{name}.in", folder / f"{name}.out"
    given.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    process = _processes.Process(target=_main, args=(name, given, answer, dict(os.environ)))
    process.start()
    process.join()
    assert answer.stat().st_size, f"module {name} ended with {process.exitcode} and gave no result"
    result: dict[str, Any] = json.loads(answer.read_text().strip().splitlines()[-1])
    return result


def _main(name: str, given: Path, answer: Path, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    module = str(ROOT / "plugins" / "modules" / f"{name}.py")
    sys.argv = [module]
    with given.open() as sys.stdin, answer.open("w") as sys.stdout:
        runpy.run_path(module, run_name="__main__")

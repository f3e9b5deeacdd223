"""What the tests of plugins share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from unit.plugins import module_process

RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def run_module(tmp_path_factory: pytest.TempPathFactory) -> RunModule:
    """Run a module of plugins/modules as a process of its own, as Ansible does on a host, and return its result."""
    folder = tmp_path_factory.mktemp("module")

    def run(name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        internal = {"_ansible_check_mode": check, "_ansible_remote_tmp": str(folder / "ansible")}
        return module_process.run(name, {**arguments, **internal}, folder)

    return run

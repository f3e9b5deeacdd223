"""What the tests of plugins share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from unit.plugins import module_process
from unit.plugins.status_server import StatusServer

RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def run_module(tmp_path_factory: pytest.TempPathFactory) -> RunModule:
    """Run a module of plugins/modules as a process of its own, as Ansible does on a host, and return its result."""
    folder = tmp_path_factory.mktemp("module")

    def run(name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        internal = {"_ansible_check_mode": check, "_ansible_remote_tmp": str(folder / "ansible")}
        return module_process.run(name, {**arguments, **internal}, folder)

    return run


@pytest.fixture
def status_server() -> Iterator[StatusServer]:
    """Run a stand-in for Nginx's status server, which serves no version yet."""
    with StatusServer() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()

"""The memory limit of a container, as both versions of control groups tell it."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from model_endpoint.runtime import prometheus
from model_endpoint.runtime.cgroup import MemoryControl, memory_control


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return folder


VERSION_1 = {
    "memory/memory.limit_in_bytes": "536870912\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
}
VERSION_2 = {
    "cgroup.controllers": "cpu memory pids\n",
    "memory.max": "536870912\n",
    "memory.events": "low 0\nhigh 0\nmax 41\noom 3\noom_kill 2\noom_group_kill 0\n",
}


@pytest.mark.parametrize("files", [VERSION_1, VERSION_2], ids=["version 1", "version 2"])
def test_the_limit_and_the_kills_are_the_container_s(tmp_path: Path, files: dict[str, str]) -> None:
    assert memory_control(write(tmp_path, files)) == MemoryControl(limit=536870912, kills=2)


@pytest.mark.parametrize(
    "files",
    [
        {**VERSION_1, "memory/memory.limit_in_bytes": "9223372036854771712\n"},
        {**VERSION_2, "memory.max": "max\n"},
    ],
    ids=["version 1", "version 2"],
)
def test_no_limit_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    assert memory_control(write(tmp_path, files)) == MemoryControl(limit=None, kills=2)


def test_a_kernel_that_does_not_tell_is_no_fault(tmp_path: Path) -> None:
    assert memory_control(tmp_path) == MemoryControl(limit=None, kills=None)


def test_metrics_have_both(client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "memory_control", lambda: memory_control(write(tmp_path, VERSION_2)))
    lines = client.get("/metrics").text.splitlines()
    assert "flotilla_memory_limit_bytes 536870912" in lines
    assert "flotilla_memory_oom_kills_total 2" in lines
    monkeypatch.setattr(prometheus, "memory_control", lambda: memory_control(tmp_path / "nowhere"))
    lines = client.get("/metrics").text.splitlines()
    assert not [line for line in lines if line.startswith("flotilla_memory_")]

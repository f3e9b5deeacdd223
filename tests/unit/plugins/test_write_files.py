"""Files are written whole, for whom they are meant, and only when they differ."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Write = Callable[..., dict[str, Any]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a" / "b" / "file"


@pytest.fixture
def write(run_module: Callable[..., dict[str, Any]], path: Path) -> Write:
    def run(content: str = "one\n", mode: str = "0640", *, check: bool = False) -> dict[str, Any]:
        file = {"path": str(path), "content": content, "mode": mode, "owner": os.getuid()}
        return run_module("write_files", check=check, files=[file])

    return run


def test_a_file_is_written_once_with_its_folders(write: Write, path: Path) -> None:
    assert write()["written"] == [str(path)]
    assert not write()["changed"]
    assert path.read_text() == "one\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_changed_content_or_mode_is_put_right(write: Write, path: Path) -> None:
    write()
    assert write("two\n")["changed"]
    assert write("two\n", "0600")["changed"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_check_mode_says_what_would_change_and_writes_nothing(
    write: Write, path: Path, tmp_path: Path
) -> None:
    result = write(check=True)
    assert result["changed"]
    assert [(part["before"], part["after"]) for part in result["diff"]] == [("", "one\n")]
    assert not (tmp_path / "a").exists()


def test_a_path_that_cannot_be_written_is_named(write: Write, path: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file where a folder should be")
    result = write()
    assert result["failed"]
    assert str(path) in str(result["msg"])

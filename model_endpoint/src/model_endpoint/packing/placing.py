"""Put a finished folder in place of an older one, all of it or nothing. Runs where models are packed."""

from __future__ import annotations

import ctypes
import filecmp
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".flotilla-"
# Of Linux; `man 2 renameat2`.
AT_FDCWD, RENAME_EXCHANGE = -100, 2
NEW, UNCHANGED, REPLACED = "new", "unchanged", "replaced"


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A new empty folder with the name of `target`, on the same file system; it is gone after the context."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=target.parent) as folder:
        stage = Path(folder) / target.name
        stage.mkdir()
        yield stage


def place(stage: Path, target: Path) -> str:
    """Move `stage` to `target`, unless it holds the same; returns NEW, UNCHANGED or REPLACED."""
    if not target.exists():
        stage.rename(target)
        return NEW
    if _same(stage, target):
        return UNCHANGED
    if not _exchange(stage, target):  # what was in place lies in the stage now, which its context removes
        _rename_twice(stage, target)
    return REPLACED


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change their names in one step; returns False where the system or its disk has no such step."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    done: int = renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    return done == 0


def _rename_twice(stage: Path, target: Path) -> None:
    old = stage.with_name(f"{stage.name}.old")
    target.rename(old)
    try:
        stage.rename(target)
    except OSError:
        old.rename(target)
        raise


def _same(one: Path, other: Path) -> bool:
    files = [
        {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} for folder in (one, other)
    ]
    return files[0] == files[1] and not any(
        not filecmp.cmp(one / file, other / file, shallow=False) for file in files[0]
    )

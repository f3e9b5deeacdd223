"""Put a finished folder in place of an older one, all of it or nothing. Runs where models are packed."""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".flotilla-"
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
    old = stage.with_name(f"{stage.name}.old")
    target.rename(old)
    try:
        stage.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)
    return REPLACED


def _same(one: Path, other: Path) -> bool:
    files = [
        {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} for folder in (one, other)
    ]
    return files[0] == files[1] and not any(
        not filecmp.cmp(one / file, other / file, shallow=False) for file in files[0]
    )

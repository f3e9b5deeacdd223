"""Runs on hosts: lets one process at a time work in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Wait until no other process has `folder` locked, and keep it locked meanwhile; make the folder if it is missing.

    The kernel ends the lock with the process, however that ends.

    Raises:
        OSError: when the folder can't be made or opened.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

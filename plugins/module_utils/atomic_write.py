"""Runs on hosts and on the controller: writes a file whole or not at all."""

from __future__ import annotations

import os
import pathlib
import tempfile


def write_file(
    path: pathlib.Path,
    content: str,
    *,
    mode: int = 0o644,
    owner: int | None = None,
    folder_mode: int = 0o755,
    durable: bool = False,
) -> None:
    """Replace the file `path` by one with this content, in UTF-8, and make the folder it lies in.

    A reader sees the old file or the new one, never a part. The content is never readable by more users than `mode`
    allows, not even while it is written.

    Args:
        path: The file. When it can't be written, it stays as it was.
        content: Its content.
        mode: Its permissions.
        owner: The number of the user who owns it, with the group root. None leaves it to the user who writes.
        folder_mode: The permissions of the folder, if there is none yet.
        durable: Whether the content has to be on the disk before it replaces the old one, so that a loss of power
            leaves one of the two.

    Raises:
        OSError: when the file can't be written.
    """
    path.parent.mkdir(mode=folder_mode, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = pathlib.Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                os.fchown(descriptor, owner, 0)
            os.fchmod(descriptor, mode)
            file.write(content.encode())
            if durable:
                file.flush()
                os.fsync(descriptor)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise

"""Runs on hosts and on the controller: the state of a file as one text, to compare what is there with what is wanted.

The text is the SHA-256 of the content, the mode and the owner's number: "5f70…:0644:0".
"""

from __future__ import annotations

import hashlib
import pathlib
import stat
from collections.abc import Mapping
from typing import Any

DEFAULT_MODE = "0644"
DEFAULT_OWNER = 0


def file_state(content: bytes, mode: int, owner: int) -> str:
    """Return the state of a file with this content, these permissions and the user of this number as its owner."""
    return f"{hashlib.sha256(content).hexdigest()}:{mode:04o}:{owner}"


def present_state(path: pathlib.Path) -> str:
    """Return the state of the file at `path`, empty where there is no regular file.

    Raises:
        OSError: when the file is there and can't be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return ""
        return file_state(path.read_bytes(), stat.S_IMODE(status.st_mode), status.st_uid)
    except FileNotFoundError:  # removed since it was listed, or a link that leads nowhere
        return ""


def wanted_state(file: Mapping[str, Any]) -> str:
    """Return the state that `file` will have, an entry of what module write_files takes.

    Its keys are `content`, and perhaps `mode` (an octal number as a text) and `owner` (a number).
    """
    mode, owner = int(file.get("mode", DEFAULT_MODE), 8), int(file.get("owner", DEFAULT_OWNER))
    return file_state(file["content"].encode(), mode, owner)

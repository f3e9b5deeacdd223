"""Runs on the controller: who runs the playbook, and when."""

from __future__ import annotations

import datetime
import getpass
import os


def user_name() -> str:
    """Return the name of the user who runs the playbook, the one before sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # in a container, the user may have a number but no name
        return str(os.getuid())


def operator() -> str:
    """Return who runs the playbook, as USER@CONTROLLER."""
    return f"{user_name()}@{os.uname().nodename}"


def now() -> str:
    """Return the time, in ISO 8601, UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

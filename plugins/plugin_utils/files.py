"""Runs on the controller: compares the files that a host is to have with those that module machine_state found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

from ansible_collections.flotilla.fleet.plugins.module_utils.file_state import wanted_state


class File(TypedDict):
    """A file as module write_files takes it."""

    path: str
    content: str
    mode: NotRequired[str]
    """The permissions in octal digits, 0644 by default."""
    owner: NotRequired[int]
    """The user id of the owner, 0 by default."""


def out_of_date(files: Sequence[File], present: Mapping[str, str]) -> list[str]:
    """Return the paths of those `files` that are missing or differ in content, mode or owner.

    `present` is what machine_state found: SHA-256, mode and owner of each file, by path.
    """
    return [file["path"] for file in files if present.get(file["path"]) != wanted_state(file)]


def file_states(files: Sequence[File]) -> dict[str, str]:
    """Return what machine_state finds of these `files` once they are written."""
    return {file["path"]: wanted_state(file) for file in files}


def files_hash(files: Sequence[File]) -> str:
    """Return a hash of these `files`, for the description of a container that reads them at start only."""
    states = [f"{path} {state}" for path, state in file_states(files).items()]
    return hashlib.sha256("\n".join(states).encode()).hexdigest()[:12]

"""Runs on the controller: copies the folder of the internal CA to a backup, and back where it is missing."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping

from ansible_collections.flotilla.fleet.plugins.module_utils.atomic_write import write_file
from ansible_collections.flotilla.fleet.plugins.module_utils.certificate_store import AUTHORITIES, OPTIONAL
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import identify

BACKUP_FOLDER = "authorities"
"""The folder in the one of a backup that holds the copy."""

AUTHORITY = re.compile(rf"({'|'.join(AUTHORITIES)})-\d+\.crt")
"""The name of an authority's certificate. The other files are what the authorities issued, and the keys."""

VAULT = "$ANSIBLE_VAULT"


class RefusedError(ValueError):
    """A copy that would lose something; the message says what, and the fix."""


def save(folder: pathlib.Path, directory: pathlib.Path, *, check_mode: bool) -> list[str]:
    """Bring the backup `folder` to what the authorities' `directory` holds; return the files that differed.

    Raises:
        RefusedError: when others may read the folder, or when it is the backup of another fleet.
    """
    own, target = _files(directory), folder / BACKUP_FOLDER
    _refuse_incomplete(directory, own)
    for place in (folder, target):
        if place.exists() and place.stat().st_mode & 0o077:
            raise RefusedError(
                f"others than its owner may enter {place}, which is to hold private keys: run chmod 0700 {place}, or"
                " name another folder"
            )
    kept = _files(target)
    if _lines(kept) and _lines(own).isdisjoint(_lines(kept)):
        raise RefusedError(
            f"{folder} is the backup of {_whose(kept)}, and {directory} belongs to {_whose(own)}: name another folder"
        )
    changed = _write(target, own, kept, check_mode=check_mode, certificate_mode=0o600)
    for name in sorted(kept.keys() - own.keys()):
        changed.append(str(target / name))
        if not check_mode:
            (target / name).unlink()
    return changed


def restore(folder: pathlib.Path, directory: pathlib.Path, *, check_mode: bool) -> list[str]:
    """Copy the authorities of the backup `folder` to `directory`, unless it holds them; return the files it lacked.

    Raises:
        RefusedError: when the backup is not whole, or when the directory holds other authorities.
    """
    source = folder / BACKUP_FOLDER
    kept, there = _files(source), _files(directory)
    _refuse_incomplete(source, kept)
    if vaulted := [name for name, content in kept.items() if content.startswith(VAULT)]:
        raise RefusedError(
            f"{source / vaulted[0]} is encrypted: run ansible-vault decrypt {source}/* before, and encrypt after"
        )
    if not _authorities(there):
        return _write(directory, kept, {}, check_mode=check_mode, certificate_mode=0o644)
    if _authorities(there) != _authorities(kept):
        raise RefusedError(
            f"{directory} holds authorities of {_whose(there)} that are not those of the backup in {folder}: nothing is"
            f" replaced. If the backup's are the right ones, move {directory} away and run this again"
        )
    return []


def _files(folder: pathlib.Path) -> dict[str, str]:
    """Return the content of each certificate and key in `folder`, by name."""
    paths = sorted(path for path in folder.glob("[!.]*") if path.suffix in (".crt", ".key"))
    return {path.name: path.read_text(encoding="ascii", errors="replace") for path in paths}


def _authorities(files: Mapping[str, str]) -> dict[str, str]:
    """Return those of `files` that are certificates of authorities."""
    return {name: content for name, content in files.items() if AUTHORITY.fullmatch(name)}


def _lines(files: Mapping[str, str]) -> set[str]:
    """Return the lineages of the authorities among `files`."""
    return {identify(content).lineage for content in _authorities(files).values()} - {""}


def _whose(files: Mapping[str, str]) -> str:
    """Return whose the authorities among `files` are, in words."""
    return next((identify(content).described for content in _authorities(files).values()), "no fleet")


def _refuse_incomplete(folder: pathlib.Path, files: Mapping[str, str]) -> None:
    """Raise RefusedError unless `files`, of `folder`, have each authority that a fleet must have, with a key."""
    for name in AUTHORITIES:
        if name not in OPTIONAL and not any(re.fullmatch(rf"{name}-\d+\.key", file) for file in files):
            raise RefusedError(
                f"{folder} holds no key of the authority {name}: name the folder of a whole fleet"
            )


def _write(
    target: pathlib.Path,
    files: Mapping[str, str],
    present: Mapping[str, str],
    *,
    check_mode: bool,
    certificate_mode: int,
) -> list[str]:
    """Write those of `files` to `target` that are not `present` there, and return their paths."""
    differing = [name for name, content in files.items() if present.get(name) != content]
    for place in () if check_mode or not differing else (target.parent, target):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in () if check_mode else differing:
        mode = certificate_mode if name.endswith(".crt") else 0o600
        write_file(target / name, files[name], mode=mode, folder_mode=0o700, durable=True)
    return [str(target / name) for name in differing]

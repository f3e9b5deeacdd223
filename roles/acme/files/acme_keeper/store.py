"""Runs in the keeper's container: what the keeper keeps on its disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypedDict

from acme_keeper.certificate import Certificate, is_for, read_certificate
from acme_keeper.decide import Failure
from acme_keeper.settings import Places, Settings

SHARED_MODE = 0o440
"""Nginx's user has the group of the folder, which its files inherit."""

PRIVATE_MODE = 0o400


class Kept(TypedDict):
    """The content of state.json, which module machine_state reads too. Times are seconds since the epoch."""

    directory: str
    """The directory of the CA that issued the certificate; empty where none has been issued yet."""
    failed: Failure | None
    """The last order, if it brought no certificate."""
    proven: str
    """The fingerprint of the settings with which the CA's test service has issued a certificate."""
    next_order: float


NEW: Kept = {"directory": "", "failed": None, "proven": "", "next_order": 0}


def write(path: Path, content: str, mode: int) -> None:
    """Give a file its content and mode as a whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.chmod(mode)
    part.replace(path)


def read_kept(places: Places) -> Kept:
    """Return what state.json holds; nothing where there is no such file."""
    path = places.kept / "state.json"
    kept: Kept = json.loads(path.read_text()) if path.exists() else {**NEW}
    return kept


def write_kept(places: Places, kept: Kept) -> None:
    """Write state.json."""
    write(places.kept / "state.json", json.dumps(kept, indent=1, sort_keys=True) + "\n", 0o600)


def held_certificate(places: Places, kept: Kept, settings: Settings) -> Certificate | None:
    """Return the certificate that this keeper holds, if it is of the CA and for the names that the settings want."""
    path = places.kept / "certificate.pem"
    if kept["directory"] != settings["directory"] or not path.exists():
        return None
    try:
        certificate = read_certificate(path.read_text())
    except ValueError:
        return None
    return certificate if is_for(certificate, settings["names"]) else None

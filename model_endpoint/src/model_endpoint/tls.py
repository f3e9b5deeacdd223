"""The certificates that an endpoint serves with, and how a change of them comes into effect.

They lie in one folder: `server.pem`, the endpoint's own certificate with its key, and `clients.crt`, the authorities
whose clients are served. Each is replaced as a whole.
"""

from __future__ import annotations

import hashlib
import os
import signal
import ssl
from pathlib import Path
from threading import Thread
from time import sleep

from model_endpoint.settings import SettingError

SERVER, CLIENTS = "server.pem", "clients.crt"
LOOK_SECONDS = 1.0


def check(folder: Path) -> None:
    """Raise SettingError unless the certificates in `folder` can be served with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(folder / SERVER)
        context.load_verify_locations(folder / CLIENTS)
    except OSError as error:  # ssl.SSLError is one
        raise SettingError(
            f"FLOTILLA_TLS is {str(folder)!r}: {SERVER} and {CLIENTS} in it can't be used: {error}"
        ) from error


def digest(folder: Path | None) -> str:
    """Return what tells the certificates in `folder` from others; empty without a folder."""
    if folder is None:
        return ""
    content = b"".join((folder / name).read_bytes() for name in (SERVER, CLIENTS))
    return hashlib.sha256(content).hexdigest()[:12]


def watch(folder: Path) -> None:
    """Have this process's server replace its workers, which read certificates when they start, at every change."""
    Thread(target=_watch, args=(folder, _seen(folder)), daemon=True).start()


def _watch(folder: Path, served: list[tuple[int, int]]) -> None:
    while True:
        sleep(LOOK_SECONDS)
        seen = _seen(folder)
        if seen == served:
            continue
        try:
            check(folder)
        except SettingError:
            continue  # half of a change may be there
        served = seen
        # granian's word for it: one worker after another is replaced, and finishes what it has begun.
        os.kill(os.getpid(), signal.SIGHUP)


def _seen(folder: Path) -> list[tuple[int, int]]:
    """What changes with the files, and costs next to nothing to look at."""
    try:
        states = [(folder / name).stat() for name in (SERVER, CLIENTS)]
    except OSError:
        return []
    return [(state.st_ino, state.st_mtime_ns) for state in states]

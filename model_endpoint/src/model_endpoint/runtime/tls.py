"""The certificates that an endpoint serves with, and the watch for their change. Runs in a worker and beside it.

They are in one folder: `server.pem` has the endpoint's own certificate with its key, and `clients.crt` the authorities
whose clients are served. Each file is replaced as a whole.
"""

from __future__ import annotations

import hashlib
import os
import signal
import ssl
from pathlib import Path
from threading import Thread
from time import sleep

from model_endpoint.runtime.settings import SettingError

SERVER, CLIENTS = "server.pem", "clients.crt"
POLL_SECONDS = 1.0


def check(folder: Path) -> None:
    """Raise SettingError unless the endpoint can serve with the certificates in `folder`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(folder / SERVER)
        context.load_verify_locations(folder / CLIENTS)
    except OSError as error:  # the base class of ssl.SSLError
        raise SettingError(
            f"FLOTILLA_TLS is {str(folder)!r}: {SERVER} and {CLIENTS} in it can't be used: {error}"
        ) from error


def digest(folder: Path | None) -> str:
    """Return 12 digits of the hash of the certificates in `folder`; empty without a folder."""
    if folder is None:
        return ""
    content = b"".join((folder / name).read_bytes() for name in (SERVER, CLIENTS))
    return hashlib.sha256(content).hexdigest()[:12]


def watch(folder: Path) -> None:
    """Have the server of this process replace its workers, which read the certificates at their start, at a change."""
    Thread(target=_watch, args=(folder, _file_states(folder)), daemon=True).start()


def _watch(folder: Path, served: list[tuple[int, int]]) -> None:
    while True:
        sleep(POLL_SECONDS)
        found = _file_states(folder)
        if found == served:
            continue
        try:
            check(folder)
        except SettingError:
            continue  # perhaps only one of the two files is new yet
        served = found
        # At SIGHUP granian replaces one worker after another; each finishes its requests in flight.
        os.kill(os.getpid(), signal.SIGHUP)


def _file_states(folder: Path) -> list[tuple[int, int]]:
    """The inode and the time of change of both files; empty when one is missing. Cheaper to poll than their content."""
    try:
        states = [(folder / name).stat() for name in (SERVER, CLIENTS)]
    except OSError:
        return []
    return [(state.st_ino, state.st_mtime_ns) for state in states]

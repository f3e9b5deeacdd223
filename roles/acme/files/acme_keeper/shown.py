"""Runs in the keeper's container: gives Nginx a certificate, and has it reload until clients are shown that one."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

from acme_keeper.certificate import Certificate
from acme_keeper.store import SHARED_MODE, write

RELOAD_SECONDS = 30
POLL_SECONDS = 0.25
ANSWER_SECONDS = 2


def shown_certificate(port: int) -> bytes:
    """Return the certificate that clients are shown on `port` in DER form, empty where nothing answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection,
            context.wrap_socket(connection) as tls,
        ):
            return tls.getpeercert(binary_form=True) or b""
    except OSError:
        return b""


def show(certificate: Certificate, folder: Path, port: int) -> bool:
    """Give Nginx `certificate`, and return whether clients are shown it. Where no Nginx runs, the next one shows it."""
    path = folder / "frontend.pem"
    if not _holds(path, certificate.pem):
        write(path, certificate.pem, SHARED_MODE)
    return shown_certificate(port) in (b"", certificate.der) or _reload(certificate, folder, port)


def _holds(path: Path, content: str) -> bool:
    try:
        return path.read_text() == content
    except OSError:  # it is missing, or Nginx's own until now
        return False


def _reload(certificate: Certificate, folder: Path, port: int) -> bool:
    """Ask Nginx for a reload, and return whether it shows `certificate` then.

    One of Nginx's workers looks for this file (certificate.js), as no other container can send Nginx a signal.
    """
    asked = folder / "reload"
    write(asked, "", SHARED_MODE)
    deadline = time.monotonic() + RELOAD_SECONDS
    try:
        while time.monotonic() < deadline:
            if shown_certificate(port) == certificate.der:
                return True
            time.sleep(POLL_SECONDS)
        return False
    finally:
        asked.unlink(missing_ok=True)

"""What a port that speaks TLS agrees to, seen by clients that ask for one thing each."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from fleet.fleet import Fleet
from fleet.ports import HTTPS

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS_FRAME = 4


@dataclass(frozen=True)
class Agreement:
    """What client and server agreed to, and the certificate shown, in PEM form."""

    version: str
    cipher: str
    protocol: str
    certificate: str


def authority(fleet: Fleet) -> Path:
    """Return the file of the internal authority's certificate on this machine, the controller."""
    return max(fleet.authorities.glob("fleet-*.crt"))


def client(
    trusted: Path | None = None,
    version: ssl.TLSVersion | None = None,
    ciphers: str = "",
    protocols: tuple[str, ...] = (),
) -> ssl.SSLContext:
    """Return a client that trusts one authority, or anybody, and speaks one version and some ciphers of it."""
    context = ssl.create_default_context(cafile=trusted)
    if trusted is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if version:
        # The level lets this client offer what is no good any more.
        context.set_ciphers(f"{ciphers or 'ALL'}:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(list(protocols))
    return context


def agree(address: str, context: ssl.SSLContext, name: str = "", port: int = HTTPS) -> Agreement:
    """Shake hands, as somebody who knows the server by `name`, or else by its address.

    Raises ssl.SSLError when it refuses, or shows a certificate that this client doesn't trust.
    """
    with (
        socket.create_connection((address, port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=name or address) as secured,
    ):
        cipher = secured.cipher()
        shown = secured.getpeercert(binary_form=True)
        assert cipher
        assert shown
        certificate = ssl.DER_cert_to_PEM_cert(shown)
        return Agreement(cipher[1], cipher[0], secured.selected_alpn_protocol() or "", certificate)


def speaks_http2(address: str, context: ssl.SSLContext, port: int = HTTPS) -> bool:
    """Tell whether the server answers the beginning of HTTP/2 as HTTP/2."""
    with (
        socket.create_connection((address, port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=address) as secured,
    ):
        secured.sendall(PREFACE)
        return secured.recv(9)[3] == SETTINGS_FRAME

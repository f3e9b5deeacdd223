"""A request over HTTP/2 with any headers, malformed ones included, which no client's library would send."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import BinaryIO

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, GOING_AWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4
# The statuses that HPACK's static table holds (RFC 7541, appendix A), by the first byte of the answer's headers.
STATUSES = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}


def ask_over_http2(
    port: int, context: ssl.SSLContext, name: str, headers: Sequence[tuple[str, str]], body: bytes
) -> tuple[int, bytes]:
    """Send a request to `port` of this machine, and return the status and the body of the answer.

    The status is 0 where the server ended the stream or the connection instead.
    """
    context.set_alpn_protocols(["h2"])
    block = b"".join(b"\0" + _text(key) + _text(value) for key, value in headers)
    request = PREFACE + _frame(SETTINGS, 0, 0, b"") + _frame(HEADERS, END_HEADERS, 1, block)
    with (
        socket.create_connection(("127.0.0.1", port), 10) as connection,
        context.wrap_socket(connection, server_hostname=name) as tls,
        tls.makefile("rb") as answer,
    ):
        tls.sendall(request + _frame(DATA, END_STREAM, 1, body))
        return _read(answer)


def _read(answer: BinaryIO) -> tuple[int, bytes]:
    status, content = 0, b""
    while len(head := answer.read(9)) == 9:
        payload = answer.read(int.from_bytes(head[:3], "big"))
        kind, flags = head[3], head[4]
        if kind in (RESET, GOING_AWAY):
            return 0, b""
        if kind == HEADERS:
            status = STATUSES[payload[0]]
        elif kind == DATA:
            content += payload
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            break
    return status, content


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()

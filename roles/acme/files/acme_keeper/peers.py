"""Runs in the keeper's container: keepers tell each other what they hold, over TLS with certificates on both sides.

A keeper takes nothing that is sent to it: told that there is news, it asks the load balancers of its own settings.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypedDict

from acme_keeper.decide import Failure
from acme_keeper.settings import PEERS_NAME, Peer

SECONDS = 10
LARGEST_ANSWER = 1_000_000


class Told(TypedDict):
    """What a keeper tells the others."""

    directory: str
    certificate: str
    """The certificate of that CA with its key, in PEM form; empty where the keeper holds none."""
    failed: Failure | None
    ordering: float
    """Since when the keeper orders, 0 where it does not."""
    tokens: dict[str, str]
    """What the CA is to find, by token."""


def ask(peer: Peer, folder: Path) -> Told | None:
    """Return what a keeper tells, None where it does not answer. `folder` has what keepers show each other."""
    answer = _request("GET", "/state", peer, folder)
    told: Told | None = json.loads(answer) if answer else None
    return told


def notify(peer: Peer, folder: Path) -> None:
    """Tell a keeper that there is news, and return once it has asked for them, or does not answer."""
    _request("POST", "/news", peer, folder)


def _request(method: str, path: str, peer: Peer, folder: Path) -> bytes:
    """Return a keeper's answer, empty where there is none."""
    context = ssl.create_default_context(cafile=str(folder / "servers.crt"))
    context.load_cert_chain(folder / "client.pem")
    connection = http.client.HTTPConnection(peer["address"], peer["port"], timeout=SECONDS)
    try:
        plain = socket.create_connection((peer["address"], peer["port"]), SECONDS)
        with plain, context.wrap_socket(plain, server_hostname=PEERS_NAME) as connection.sock:
            connection.request(method, path, headers={"Content-Length": "0"})
            answer = connection.getresponse()
            content = answer.read(LARGEST_ANSWER)
            return content if answer.status == 200 else b""
    except (OSError, http.client.HTTPException):
        return b""


class Server(ThreadingHTTPServer):
    """Answers the other keepers."""

    daemon_threads = True

    def __init__(
        self, address: str, port: int, folder: Path, tell: Callable[[], Told], news: Callable[[], None]
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), _Handler)
        self.folder = folder
        self.tell = tell
        self.news = news

    def finish_request(self, request: object, client_address: object) -> None:
        """Answer one connection, in its own thread. The files are read anew, since a run may have replaced them."""
        assert isinstance(request, socket.socket)
        request.settimeout(SECONDS)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.folder / "clients.crt"))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.folder / "server.pem")
        with contextlib.suppress(OSError), context.wrap_socket(request, server_side=True) as tls:
            _Handler(tls, client_address, self)


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path == "/state":
            self._answer(json.dumps(self.server.tell()).encode())
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        if self.path == "/news":
            self.server.news()
            self._answer(b"{}")
        else:
            self.send_error(404)

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Write no log of each request."""

"""Each worker's inner door: HTTP without TLS on a socket that only the processes of its container can reach.

The health check and the gate come in by it, so no container holds a key that opens an endpoint. Every worker has its
own, so each of them can be asked.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from http.client import HTTPConnection
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from model_endpoint.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CERTIFICATES = "X-Certificates"
"""The header in which a worker tells the digest of the certificates that it serves with."""


class Door(ThreadingMixIn, WSGIServer):
    """The server of one worker's door; it answers with `app`."""

    address_family = socket.AF_UNIX
    daemon_threads = True

    def __init__(self, app: WSGIApplication, settings: Settings, slot: int, certificates: str) -> None:
        super().__init__(_address(settings, slot), _Handler)  # type: ignore[arg-type]

        def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            def signed(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
                return start_response(status, [*headers, (CERTIFICATES, certificates)], exc_info)

            return app(environ, signed)

        self.set_app(answer)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Such a socket's clients have no address, and the handler would look for one."""
        return self.socket.accept()[0], ("localhost", 0)

    def open(self) -> None:
        """Answer, for as long as the process runs."""
        Thread(target=self.serve_forever, kwargs={"poll_interval": 3600}, daemon=True).start()


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name is the base class's
        pass


class Visit(HTTPConnection):
    """A connection to a worker's door."""

    def __init__(self, settings: Settings, slot: int, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._address = _address(settings, slot)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._address)


def visits(settings: Settings, timeout: float) -> list[Visit]:
    """Return a connection to every worker whose door is open; answers may take `timeout` seconds."""
    found = []
    for slot in range(settings.slots):
        visit = Visit(settings, slot, timeout)
        try:
            visit.connect()
        except ConnectionRefusedError:
            continue
        found.append(visit)
    return found


def _address(settings: Settings, slot: int) -> str:
    """No file, but a name in the network's namespace, which is the container's own; it is gone with its process."""
    return f"\0flotilla-endpoint-{settings.address}-{settings.port}-{slot}"

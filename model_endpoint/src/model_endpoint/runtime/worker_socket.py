"""Plain HTTP to each worker, on a UNIX socket that only its container can reach. Runs in a worker and beside it.

The health check and the golden check use these sockets, so no container holds a key that opens an endpoint. Every
worker has a socket of its own, so each worker can be asked.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from http.client import HTTPConnection
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from model_endpoint.runtime.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CERTIFICATES = "X-Certificates"
"""The header in which a worker sends the hash of the certificates it serves with, as `tls.digest` returns it."""


class WorkerSocket(ThreadingMixIn, WSGIServer):
    """The server on the socket of the worker with the index `worker`; it answers with `app`."""

    address_family = socket.AF_UNIX
    daemon_threads = True

    def __init__(self, app: WSGIApplication, settings: Settings, worker: int, certificates: str) -> None:
        super().__init__(_address(settings, worker), _Handler)  # type: ignore[arg-type]

        def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
                return start_response(status, [*headers, (CERTIFICATES, certificates)], exc_info)

            return app(environ, start)

        self.set_app(answer)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection and name an address, which the handler needs and a UNIX socket's clients lack."""
        return self.socket.accept()[0], ("localhost", 0)

    def open(self) -> None:
        """Answer in a thread until the process ends."""
        Thread(target=self.serve_forever, kwargs={"poll_interval": 3600}, daemon=True).start()


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name is the base class's
        pass


class WorkerConnection(HTTPConnection):
    """A connection to the socket of the worker with the index `worker`."""

    def __init__(self, settings: Settings, worker: int, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._address = _address(settings, worker)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._address)


def connect_to_workers(settings: Settings, timeout: float) -> list[WorkerConnection]:
    """Return a connection to every worker whose socket is open; answers may take `timeout` seconds."""
    found = []
    for worker in range(settings.max_workers):
        connection = WorkerConnection(settings, worker, timeout)
        try:
            connection.connect()
        except ConnectionRefusedError:
            continue
        found.append(connection)
    return found


def _address(settings: Settings, worker: int) -> str:
    """A name in the container's own network namespace, no file: the name is gone with the process."""
    return f"\0flotilla-endpoint-{settings.address}-{settings.port}-{worker}"

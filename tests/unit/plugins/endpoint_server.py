"""An endpoint of the unit tests, which asks for a load balancer's certificate."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import Pair, certificate_pem, issue, key_pem

METRICS = """# TYPE flotilla_requests_in_flight gauge
flotilla_requests_in_flight{{model="iris",version="1",release="abc"}} {iris}
flotilla_requests_in_flight{{model="",version="",release="abc"}} 1
"""


@dataclass(frozen=True)
class Certificates:
    """The files of a load balancer's and of endpoints' certificates."""

    folder: Path
    fleet: Pair
    balancers: Pair

    def file(self, name: str, *pairs: Pair, key: bool = False) -> str:
        path = self.folder / name
        path.write_text(
            "".join(certificate_pem(pair[0]) + (key_pem(pair[1]) if key else "") for pair in pairs)
        )
        return str(path)

    def arguments(self, client: Pair | None = None) -> dict[str, str]:
        """The module's arguments that name them."""
        client = client or issue(self.balancers, "balancer-lb1", "client")
        return {
            "certificate": self.file("client.pem", client, key=True),
            "authority": self.file("servers.crt", self.fleet),
        }

    def client(self, client: Pair | None = None) -> ssl.SSLContext:
        files = self.arguments(client)
        context = ssl.create_default_context(cafile=files["authority"])
        context.load_cert_chain(files["certificate"])
        return context

    def server(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair = issue(self.fleet, name, "server", names=[f"{name}.endpoint.flotilla"])
        context.load_cert_chain(self.file(f"{name}.pem", pair, key=True))
        context.load_verify_locations(self.file("clients.crt", self.balancers))
        context.verify_mode = ssl.CERT_REQUIRED
        return context


class Endpoint(http.server.ThreadingHTTPServer):
    """An endpoint: the statuses of its readiness, one probe after another, and the numbers of its requests for iris.

    The last status and the last number stay. `answers` is what /metrics/answers has, None for an endpoint without it.
    """

    daemon_threads = True

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        statuses: tuple[int, ...] = (200,),
        requests: tuple[int, ...] = (0,),
        until: Callable[[], object] = lambda: None,
        answers: object = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        # The thread of a connection shakes hands.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.statuses = list(statuses)
        self.requests = list(requests)
        self.until = until
        self.answers = answers

    @staticmethod
    def next_of(values: list[int]) -> int:
        return values.pop(0) if len(values) > 1 else values[0]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_GET(self) -> None:
        self.server.until()
        status, text = 200, "{}"
        if self.path == "/v2/health/ready":
            status = self.server.next_of(self.server.statuses)
        elif self.path == "/metrics":
            text = METRICS.format(iris=self.server.next_of(self.server.requests))
        elif self.server.answers is None:
            status = 404
        else:
            text = json.dumps(self.server.answers)
        body = text.encode()
        self.send_response(status)
        self.send_header("X-Release", "abc")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except ssl.SSLError:
            self.close_connection = True


@contextmanager
def serving(certificates: Certificates) -> Iterator[Callable[..., dict[str, Any]]]:
    """Start endpoints, each by a call that returns how a module is told of it."""
    servers: list[Endpoint] = []

    def start(name: str = "node1", *, shows: str = "", **behaviour: Any) -> dict[str, Any]:
        server = Endpoint(certificates.server(shows or name), **behaviour)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return {"name": name, "address": "127.0.0.1", "port": server.server_port}

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()

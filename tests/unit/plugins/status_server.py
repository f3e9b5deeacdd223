"""A stand-in for the status server of Nginx."""

from __future__ import annotations

import http.server
from typing import Any


class StatusServer(http.server.ThreadingHTTPServer):
    """Answers as Nginx's status server does; without a version, as another server that knows no such page."""

    daemon_threads = True
    version = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), VersionRoute)


class VersionRoute(http.server.BaseHTTPRequestHandler):
    server: StatusServer

    def do_GET(self) -> None:
        there = self.path == "/_lb/version" and self.server.version
        self.send_response(200 if there else 404)
        self.end_headers()
        self.wfile.write(f"{self.server.version if there else 'Not Found'}\n".encode())

    def log_message(self, *_: Any) -> None:
        pass

"""Runs on hosts: asks the Docker engine over its socket."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

SOCKET = "/run/docker.sock"
TIMEOUT = 30
"""Seconds an answer may take; an engine that pulls an image is slow."""


class Engine(http.client.HTTPConnection):
    """A connection to the engine's API, kept open for all requests."""

    def __init__(self, path: str = SOCKET) -> None:
        super().__init__("docker", timeout=TIMEOUT)
        self._path = path
        self.version = ""
        """The engine's version, such as 26.1.5+dfsg1, as its last answer told; empty before the first."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def _get(self, path: str) -> tuple[int, bytes]:
        self.request("GET", path)
        answer = self.getresponse()
        # "Docker/26.1.5+dfsg1 (linux)"
        self.version = answer.getheader("Server", "").partition("/")[2].partition(" ")[0]
        return answer.status, answer.read()

    def answers(self) -> bool:
        """Tell whether an engine answers."""
        try:
            return self._get("/_ping")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path: str) -> Any:
        """Return the engine's answer at `path`, decoded from JSON.

        Raises:
            FileNotFoundError: when the engine has nothing at `path`.
            ValueError: when the engine answers with any other error.
        """
        status, body = self._get(path)
        if status == 404:
            raise FileNotFoundError(f"the Docker engine has no {path}")
        if status != 200:
            message = body.decode(errors="replace").strip()
            raise ValueError(f"the Docker engine answers {path} with {status}: {message}")
        return json.loads(body)

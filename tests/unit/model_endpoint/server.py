"""A running server, for the tests that are its clients."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

START_SECONDS = 120  # a machine that does much besides needs long to import scikit-learn
SOURCE = Path(__file__).parents[3] / "model_endpoint" / "src"


def wait_until(true: Callable[[], bool], seconds: float = 20, pause: float = 0.02) -> None:
    """Return when `true` returns true, asked every `pause` seconds; raises TimeoutError after `seconds`."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(f"not true within {seconds} s")
        time.sleep(pause)


class Server:
    """One running server, of two workers unless FLOTILLA_WORKERS says otherwise."""

    def __init__(self, served: Path, *command: str, **environ: str) -> None:
        self.served = served
        # Held until the server ends, so that the kernel gives the port to nothing else; the server may bind it as well.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        self.port: int = self._port.getsockname()[1]
        variables = {"FLOTILLA_MODELS": served, "FLOTILLA_PORT": self.port, "FLOTILLA_ADDRESS": "127.0.0.1"}
        variables |= {"FLOTILLA_WORKERS": 2, "FLOTILLA_THREADS": 4, "PYTHONPATH": SOURCE, **environ}
        self.process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "model_endpoint"))],
            env=os.environ | {name: str(variable) for name, variable in variables.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        with closing(self.connection()) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        return answer.status, json.loads(content) if content[:1] == b"{" else content.decode()

    def wait(self, workers: int = 2) -> None:
        """Return when all workers listen and the server is ready."""
        wait_until(lambda: self._listening() == workers and self._ready(), START_SECONDS)

    def _listening(self) -> int:
        """The number of sockets that listen on the port; each worker has one."""
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(fields[1].endswith(f":{self.port:04X}") and fields[3] == "0A" for fields in sockets)

    def _ready(self) -> bool:
        try:
            return self.ask("GET", "/v2/health/ready")[0] == 200
        except OSError:
            return False

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(child) for child in children.split()]

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=20)[0]

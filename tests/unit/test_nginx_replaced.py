"""One real Nginx takes over from another on the same ports, and no request is lost."""

from __future__ import annotations

import http.client
import os
import re
import signal
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.modules.nginx_replacement import (
    BEFORE,
    CONTAINER,
    Replacement,
    migrating,
)

from real_nginx import ANSWER, Cases, serving

pytestmark = pytest.mark.long

NEXT = "flotilla-nginx-next"
TLS = {"nginx_lb_tls": "internal", "nginx_lb_tls_names": ["models.example"]}
TIMES = 3


class Processes:
    """Stands in for Docker: the processes of Nginx by the names of containers."""

    def __init__(self, served: Cases) -> None:
        self.nginx = served.nginx
        self.processes: dict[str, subprocess.Popen[bytes]] = {CONTAINER: served.nginx.process}

    def run(self, command: list[str]) -> tuple[int, str, str]:
        what, name = command[1], command[2] if command[1] == "exec" else command[-1]
        if what == "start":
            self.processes[name] = self.nginx.start()
        elif what == "rename":
            self.processes[name] = self.processes.pop(command[-2])
        elif what in {"exec", "kill"}:
            self.processes[name].send_signal(signal.SIGHUP if what == "exec" else signal.SIGQUIT)
        elif what == "rm":
            self.processes[name].kill()
            self.processes.pop(name).wait()
        elif what == "inspect":
            found = self.processes.get(name)
            return (0, "exited" if found.poll() is not None else "running", "") if found else (1, "", "")
        return 0, "", ""


class Load:
    """Clients that keep their connections, and clients that do not, by TLS and by HTTP, which leads to TLS."""

    def __init__(self, served: Cases) -> None:
        self.ports, self.ended = (served.port, served.tls_port), threading.Event()
        self.context = ssl._create_unverified_context()
        self.answered: Counter[bool] = Counter()
        self.lost: list[str] = []

    def ask(self, port: int, kept: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self.ended.wait(0.004):
            try:
                connection = connection or self.connect(port)
                connection.request("POST", "/predict", b"{}")
                answer = connection.getresponse()
                body = answer.read()
                if (answer.status, body) != (200, ANSWER) and (answer.status, port) != (308, self.ports[0]):
                    self.lost.append(f"{answer.status} {body!r}")
                self.answered[kept] += 1
                if answer.will_close or not kept:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(f"port {port}, kept {kept}: {error!r}")
                connection = None

    def connect(self, port: int) -> http.client.HTTPConnection:
        if port == self.ports[0]:
            return http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=self.context)

    @contextmanager
    def applied(self) -> Iterator[None]:
        clients = [
            threading.Thread(target=self.ask, args=(port, kept))
            for port in self.ports
            for kept in (True, False)
        ]
        for client in clients:
            client.start()
        try:
            yield
            time.sleep(0.3)  # what is on the way is answered
        finally:
            self.ended.set()
            for client in clients:
                client.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    cases: dict[str, dict[str, Any]] = {"tls": TLS}
    with serving(Cases, tmp_path_factory.mktemp("nginx"), cases) as served:
        yield served


def test_no_request_is_lost_while_one_nginx_takes_over_from_another(served: Cases) -> None:
    served.case("tls")
    docker, load = Processes(served), Load(served)
    first = served.nginx.process.pid
    text = served.nginx.placed(served.configurations["tls"])
    (port,) = re.findall(r"listen 127\.0\.0\.1:(\d+);", text)
    with load.applied(), migrating():
        for number in range(TIMES):
            version = f"replaced{number}"
            Replacement(docker.run, served.nginx.file, text, version, int(port), os.geteuid()).replace(NEXT)
            served.nginx.process = docker.processes[CONTAINER]
    assert docker.processes.keys() == {CONTAINER}
    assert BEFORE not in docker.processes
    assert served.nginx.process.pid != first
    assert load.lost == []
    assert min(load.answered[True], load.answered[False]) > 100

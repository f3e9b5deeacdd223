"""Nothing asks loopback, an engine's socket or the fleet's registry through a proxy, whatever the environment says."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.fleet.plugins.plugin_utils.proxies import engine_proxy

ROOT = Path(__file__).parents[3]
URI = "ansible.builtin.uri"
DEAD = "127.0.0.1:9"
"""An address where nobody listens: what is asked there directly fails at once, and leaves no trace."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Notes what it is asked, and answers like an engine that has nothing."""

    server: Listener | Engine

    def address_string(self) -> str:
        return ""

    def log_message(self, *_: object) -> None:
        pass

    def answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        body = json.dumps({"ApiVersion": "1.44", "Version": "26.1.5", "Containers": 0}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_CONNECT = answer  # noqa: N815


class Listener(http.server.ThreadingHTTPServer):
    """A proxy."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A Docker engine, as far as its answers matter here."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        super().__init__(path, Handler)
        self.asked: list[str] = []


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """Listen as the proxy that the environment names for everything."""
    with Listener() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_address[1]}")
            monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        yield server
        server.shutdown()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(str(tmp_path / "docker.sock")) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def tasks_in(content: Any) -> Iterator[dict[str, Any]]:
    """Return all tasks in a file of tasks or plays, with those in blocks."""
    for entry in content or ():
        for part in ("tasks", "block", "rescue", "always"):
            yield from tasks_in(entry.get(part))
        yield entry


def uri_tasks() -> list[tuple[str, dict[str, Any]]]:
    """Return every task of roles and playbooks that speaks HTTP, with its file."""
    files = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")]
    return [
        (str(file.relative_to(ROOT)), task[URI])
        for file in sorted(files)
        for task in tasks_in(yaml.safe_load(file.read_text()))
        if URI in task
    ]


def test_every_task_that_speaks_http_asks_no_proxy() -> None:
    tasks = uri_tasks()
    assert len(tasks) > 8
    assert [name for name, arguments in tasks if arguments.get("use_proxy") is not False] == []


@pytest.mark.long
def test_such_a_task_asks_no_proxy_and_no_module_of_docker_does(
    proxy: Listener, engine: Engine, tmp_path: Path
) -> None:
    socket = str(engine.server_address)
    uris = [
        {"url": f"http://{DEAD}/planted"},
        {"url": f"https://{DEAD}/planted"},
        {"url": f"http://{DEAD}/", "use_proxy": False},
        {"url": f"https://{DEAD}/", "use_proxy": False},
        {"url": "http://docker/asked", "use_proxy": False, "unix_socket": socket},
    ]
    tasks: list[dict[str, Any]] = [{URI: uri, "ignore_errors": True} for uri in uris]
    tasks.append({"community.docker.docker_host_info": {"docker_host": f"unix://{socket}"}})
    play = {"hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": tasks}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    run = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "play.yml"],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert proxy.asked == [f"GET http://{DEAD}/planted", f"CONNECT {DEAD}"]
    assert engine.asked[0] == "GET /asked"
    assert engine.asked[-1].endswith("/info")


def test_no_module_asks_a_proxy(proxy: Listener, run_module: Callable[..., dict[str, Any]]) -> None:
    planted = subprocess.run(
        [sys.executable, "-c", f"import urllib.request as u; u.urlopen('http://{DEAD}/planted')"], check=True
    )
    assert planted.returncode == 0
    assert run_module("machine_state", status_port=9, tls_port=9)["served"] == ""
    probed = run_module("endpoint_probe", endpoints=[{"name": "node1", "address": "127.0.0.1", "port": 9}])
    assert "refused" in str(probed), probed
    assert proxy.asked == [f"GET http://{DEAD}/planted"]


@pytest.mark.parametrize(
    ("exceptions", "registry", "asks"),
    [
        ("", "10.0.0.1:5000", True),
        ("", "127.0.0.1:5000", False),
        ("", "localhost:5000", False),
        ("10.0.0.1", "10.0.0.1:5000", False),
        ("10.0.0.10", "10.0.0.1:5000", True),
        ("10.0.0.1:5000", "10.0.0.1:5000", False),
        ("10.0.0.1:80", "10.0.0.1:5000", True),
        ("example.com, 10.0.0.0/8", "10.0.0.1:5000", False),
        ("192.168.0.0/16,nonsense/8", "10.0.0.1:5000", True),
        ("*", "10.0.0.1:5000", False),
        ("example.com", "registry.Example.com:5000", False),
        (".example.com", "registry.example.com:5000", False),
        ("*.example.com", "registry.example.com:5000", False),
        (".example.com", "example.com:5000", True),
        ("example.com", "badexample.com:5000", True),
    ],
)
def test_an_engine_that_asks_a_proxy_for_the_registry_is_found(
    exceptions: str, registry: str, asks: bool
) -> None:
    proxy = "http://proxy.example.com:3128"
    found = engine_proxy({"HttpsProxy": proxy, "NoProxy": exceptions}, registry)
    assert found == (proxy if asks else "")
    assert engine_proxy({"NoProxy": exceptions}, registry) == ""

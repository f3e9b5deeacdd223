"""Endpoints are asked over HTTP, all at once, and one that does not answer holds up nobody."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modules.endpoint_probe import probe, probe_all, requests_in_flight

METRICS = """# TYPE flotilla_requests_in_flight gauge
flotilla_requests_in_flight{{model="iris",version="1",release="abc"}} {iris}
flotilla_requests_in_flight{{model="",version="",release="abc"}} 1
"""


class Endpoint(http.server.ThreadingHTTPServer):
    """An endpoint: what it says of its readiness, and, one scrape after another, of its requests for iris."""

    daemon_threads = True

    def __init__(self, *, status: int = 200, requests: tuple[int, ...] = (0,), delay: float = 0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = status
        self.requests = list(requests)
        self.delay = delay

    def metrics(self) -> str:
        """The last number stays."""
        return METRICS.format(iris=self.requests.pop(0) if len(self.requests) > 1 else self.requests[0])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_GET(self) -> None:
        time.sleep(self.server.delay)
        ready = self.path == "/v2/health/ready"
        body = b"{}" if ready else self.server.metrics().encode()
        self.send_response(self.server.status if ready else 200)
        self.send_header("X-Release", "abc")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


Serve = Callable[..., dict[str, Any]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start an endpoint and return how the module is told of it."""
    servers: list[Endpoint] = []

    def start(name: str = "node1", *, starts_late: bool = False, **behaviour: Any) -> dict[str, Any]:
        server = Endpoint(**behaviour)
        if starts_late:
            server.status = 503
            threading.Timer(0.5, setattr, (server, "status", 200)).start()
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return {"name": name, "address": "127.0.0.1", "port": server.server_port}

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def closed() -> dict[str, Any]:
    """An endpoint that nobody listens for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"name": "gone", "address": "127.0.0.1", "port": free.getsockname()[1]}


def test_a_ready_endpoint_names_its_release_and_is_idle(serve: Serve) -> None:
    found = probe("127.0.0.1", serve()["port"], 2)
    assert found == {"ready": True, "release": "abc", "in_flight": 0, "error": ""}


def test_an_endpoint_that_is_not_ready_still_tells_what_it_works_on(serve: Serve) -> None:
    found = probe("127.0.0.1", serve(status=503, requests=(3,))["port"], 2)
    assert found == {"ready": False, "release": "abc", "in_flight": 3, "error": ""}


def test_an_endpoint_that_cannot_be_reached_says_why(closed: dict[str, Any]) -> None:
    found = probe("127.0.0.1", closed["port"], 2)
    assert (found["ready"], found["in_flight"]) == (False, None)
    assert found["error"].startswith(f"127.0.0.1:{closed['port']}: ")
    assert "refused" in found["error"]


def test_an_endpoint_that_is_frozen_is_given_up_after_the_timeout(serve: Serve) -> None:
    began = time.monotonic()
    assert "timed out" in probe("127.0.0.1", serve(delay=3)["port"], 0.2)["error"]
    assert time.monotonic() - began < 1


def test_endpoints_are_asked_past_any_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert probe("127.0.0.1", serve()["port"], 2)["ready"]


def test_all_are_asked_at_once(serve: Serve) -> None:
    began = time.monotonic()
    found = probe_all([serve(name, delay=0.3) for name in ("node1", "node2", "node3", "node4")], 2)
    assert all(answer["ready"] for answer in found.values())
    assert time.monotonic() - began < 1.5


def test_metrics_that_do_not_count_requests_are_not_taken_for_none() -> None:
    assert requests_in_flight("some_other_page 0\n") is None


def test_a_look_waits_for_nothing(run_module: Serve, serve: Serve, closed: dict[str, Any]) -> None:
    result = run_module("endpoint_probe", endpoints=[serve("busy", requests=(2,)), serve("calm"), closed])
    assert not result["changed"]
    assert {name: answer["in_flight"] for name, answer in result["endpoints"].items()} == {
        "busy": 2,
        "calm": 0,
        "gone": None,
    }
    assert (result["idle"], result["busy"]) == (False, ["busy"])


def test_it_waits_until_all_are_ready(run_module: Serve, serve: Serve) -> None:
    endpoints = [serve(starts_late=True), serve("node2")]
    result = run_module("endpoint_probe", endpoints=endpoints, ready_timeout=20)
    assert [found["ready"] for found in result["endpoints"].values()] == [True, True]


def test_it_waits_no_longer_than_it_may_for_one_that_is_gone(
    run_module: Serve, closed: dict[str, Any]
) -> None:
    result = run_module("endpoint_probe", endpoints=[closed], ready_timeout=1)
    assert not result["endpoints"]["gone"]["ready"]


def test_it_waits_until_none_that_answers_is_busy(
    run_module: Serve, serve: Serve, closed: dict[str, Any]
) -> None:
    endpoints = [serve(requests=(2, 1, 0)), closed]
    result = run_module("endpoint_probe", endpoints=endpoints, idle_timeout=20)
    assert (result["idle"], result["busy"]) == (True, [])


def test_it_waits_no_longer_than_it_may(run_module: Serve, serve: Serve) -> None:
    result = run_module("endpoint_probe", endpoints=[serve(requests=(1,))], idle_timeout=1)
    assert (result["idle"], result["busy"]) == (False, ["node1"])


def test_without_endpoints_all_are_idle(run_module: Serve) -> None:
    result = run_module("endpoint_probe", endpoints=[], idle_timeout=20)
    assert (result["endpoints"], result["idle"]) == ({}, True)

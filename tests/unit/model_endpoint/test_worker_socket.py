"""A worker's socket answers the programs that run beside the worker."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from model_endpoint.runtime import health
from model_endpoint.runtime.settings import Settings
from model_endpoint.runtime.worker_socket import CERTIFICATES, WorkerSocket, connect_to_workers


@pytest.fixture
def settings() -> Settings:
    return Settings(address=uuid.uuid4().hex, workers=2)


def serve(settings: Settings, worker: int, status: str = "200 OK") -> WorkerSocket:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    server = WorkerSocket(app, settings, worker, f"digest-{worker}")
    server.open()
    return server


def test_every_open_socket_is_found_and_names_its_certificates(settings: Settings) -> None:
    assert connect_to_workers(settings, 5) == []
    servers = [serve(settings, worker) for worker in (0, 3)]  # 3 is the successor of a worker
    connections = connect_to_workers(settings, 5)
    found = []
    for connection in connections:
        connection.request("GET", "/path")
        answer = connection.getresponse()
        found.append((answer.status, answer.headers[CERTIFICATES], answer.read()))
        connection.close()
    assert found == [(200, "digest-0", b"/path"), (200, "digest-3", b"/path")]
    for server in servers:
        server.socket.close()


@pytest.mark.parametrize(
    ("statuses", "code"), [([], 1), (["200 OK", "200 OK"], 0), (["200 OK", "503 SERVICE UNAVAILABLE"], 1)]
)
def test_the_health_check_passes_when_every_worker_is_ready(
    settings: Settings, statuses: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOTILLA_ADDRESS", settings.address)
    monkeypatch.setenv("FLOTILLA_WORKERS", str(settings.workers))
    servers = [serve(settings, worker, status) for worker, status in enumerate(statuses)]
    assert health.main() == code
    for server in servers:
        server.socket.close()

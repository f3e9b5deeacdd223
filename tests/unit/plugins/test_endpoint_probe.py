"""Endpoints are asked at the same time, with a load balancer's certificate, and need not answer."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.modules.endpoint_probe import (
    IN_FLIGHT,
    probe,
    probe_all,
    requests_in_flight,
)

from unit.plugins.endpoint_server import Certificates, serving

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    return Certificates(folder, make_authority("fleet"), make_authority("load balancers"))


Serve = Callable[..., dict[str, Any]]


@pytest.fixture
def serve(certificates: Certificates) -> Iterator[Serve]:
    with serving(certificates) as start:
        yield start


@pytest.fixture
def closed() -> dict[str, Any]:
    """An endpoint whose port is closed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"name": "gone", "address": "127.0.0.1", "port": free.getsockname()[1]}


def test_a_ready_endpoint_names_its_release_and_is_idle(serve: Serve, certificates: Certificates) -> None:
    found = probe(serve(), 2, certificates.client())
    assert 729 < (found.pop("certificate_end") - time.time()) / 86400 < 730
    assert found == {"ready": True, "release": "abc", "in_flight": 0, "error": ""}


def test_an_endpoint_that_is_not_ready_still_tells_what_it_works_on(
    serve: Serve, certificates: Certificates
) -> None:
    found = probe(serve(statuses=(503,), requests=(3,)), 2, certificates.client())
    assert (found["ready"], found["release"], found["in_flight"], found["error"]) == (False, "abc", 3, "")


def test_an_endpoint_is_known_by_its_name(serve: Serve, certificates: Certificates) -> None:
    found = probe(serve("node1", shows="node2"), 2, certificates.client())
    assert not found["ready"]
    assert "certificate is not valid for 'node1.endpoint.flotilla'" in found["error"]


def test_an_endpoint_that_refuses_the_certificate_is_not_ready(
    serve: Serve, certificates: Certificates
) -> None:
    found = probe(serve(), 2, certificates.client(issue(certificates.fleet, "machine-10.0.0.1", "client")))
    assert not found["ready"]
    # It closes the connection with "unknown ca", which may come too late to be read.
    assert "ssl" in found["error"].lower()


def test_without_a_certificate_yet_an_endpoint_is_not_ready(
    run_module: Serve, serve: Serve, tmp_path: Path
) -> None:
    nowhere = {"certificate": str(tmp_path / "client.pem"), "authority": str(tmp_path / "servers.crt")}
    result = run_module("endpoint_probe", endpoints=[serve()], **nowhere)
    assert not result["endpoints"]["node1"]["ready"]
    assert "CERTIFICATE_VERIFY_FAILED" in result["endpoints"]["node1"]["error"]


def test_an_endpoint_that_cannot_be_reached_says_why(
    closed: dict[str, Any], certificates: Certificates
) -> None:
    found = probe(closed, 2, certificates.client())
    assert (found["ready"], found["in_flight"]) == (False, None)
    assert found["error"].startswith(f"127.0.0.1:{closed['port']}: ")
    assert "refused" in found["error"]


def test_an_endpoint_that_is_frozen_is_given_up_after_the_timeout(
    serve: Serve, certificates: Certificates
) -> None:
    over = threading.Event()
    endpoint, client = serve(until=over.wait), certificates.client()
    began = time.monotonic()
    assert "timed out" in probe(endpoint, 0.2, client)["error"]
    assert time.monotonic() - began < 1
    over.set()


def test_endpoints_are_asked_past_any_proxy(
    serve: Serve, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert probe(serve(), 2, certificates.client())["ready"]


def test_all_are_asked_at_the_same_time(serve: Serve, certificates: Certificates) -> None:
    together = threading.Barrier(
        4, timeout=10
    )  # breaks, and the answers with it, if one of the four is not asked
    endpoints = [serve(name, until=together.wait) for name in ("node1", "node2", "node3", "node4")]
    found = probe_all(endpoints, 20, certificates.client())
    assert all(answer["ready"] for answer in found.values())


def test_the_endpoint_gives_its_requests_in_flight_under_the_name_that_is_read() -> None:
    name = re.match(r"\^(\w+)", IN_FLIGHT.pattern)
    assert name
    package = ROOT / "model_endpoint" / "src"
    assert any(f'"{name[1]}"' in file.read_text() for file in package.rglob("*.py"))


def test_metrics_that_do_not_count_requests_are_not_taken_for_none() -> None:
    assert requests_in_flight("some_other_page 0\n") is None


@pytest.fixture
def ask(run_module: Serve, certificates: Certificates) -> Serve:
    """Run the module, with a load balancer's certificate."""
    return lambda **arguments: run_module("endpoint_probe", **arguments, **certificates.arguments())


def test_a_look_waits_for_nothing(ask: Serve, serve: Serve, closed: dict[str, Any]) -> None:
    result = ask(endpoints=[serve("busy", requests=(2,)), serve("calm"), closed])
    assert not result["changed"]
    assert {name: answer["in_flight"] for name, answer in result["endpoints"].items()} == {
        "busy": 2,
        "calm": 0,
        "gone": None,
    }
    assert (result["idle"], result["busy"]) == (False, ["busy"])


def test_it_waits_until_all_are_ready(ask: Serve, serve: Serve) -> None:
    endpoints = [serve(statuses=(503, 503, 200)), serve("node2")]
    result = ask(endpoints=endpoints, ready_timeout=20)
    assert [found["ready"] for found in result["endpoints"].values()] == [True, True]


def test_it_waits_no_longer_than_it_may_for_one_that_is_gone(ask: Serve, closed: dict[str, Any]) -> None:
    result = ask(endpoints=[closed], ready_timeout=0.3)
    assert not result["endpoints"]["gone"]["ready"]


def test_it_waits_until_none_that_answers_is_busy(ask: Serve, serve: Serve, closed: dict[str, Any]) -> None:
    endpoints = [serve(requests=(2, 1, 0)), closed]
    result = ask(endpoints=endpoints, idle_timeout=20)
    assert (result["idle"], result["busy"]) == (True, [])


def test_it_waits_no_longer_than_it_may(ask: Serve, serve: Serve) -> None:
    result = ask(endpoints=[serve(requests=(1,))], idle_timeout=0.3)
    assert (result["idle"], result["busy"]) == (False, ["node1"])


def test_without_endpoints_all_are_idle(ask: Serve) -> None:
    result = ask(endpoints=[], idle_timeout=20)
    assert (result["endpoints"], result["idle"]) == ({}, True)

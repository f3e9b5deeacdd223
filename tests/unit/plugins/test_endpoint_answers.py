"""What endpoints have answered is read from all of them, and one that does not tell is a result too."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import make_authority

from unit.plugins.endpoint_server import Certificates, serving

ANSWERS = {
    "release": "abc",
    "start": 5.5,
    "models": {"iris": {"predict": {"classes": ["setosa"], "counts": [3, 0, 0, 0]}}, "plain": {}},
}

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    return Certificates(folder, make_authority("fleet"), make_authority("load balancers"))


@pytest.fixture
def serve(certificates: Certificates) -> Iterator[Callable[..., dict[str, Any]]]:
    with serving(certificates) as start:
        yield lambda name, slot, **behaviour: {**start(name, **behaviour), "slot": slot}


@pytest.fixture
def ask(run_module: Callable[..., dict[str, Any]], certificates: Certificates) -> Ask:
    """Run the module, with a load balancer's certificate, and return the readings."""

    def read(*endpoints: dict[str, Any]) -> list[dict[str, Any]]:
        result = run_module("endpoint_answers", endpoints=list(endpoints), **certificates.arguments())
        assert not result["changed"]
        readings: list[dict[str, Any]] = result["readings"]
        return readings

    return read


def test_both_endpoints_of_a_node_are_read(ask: Ask, serve: Callable[..., dict[str, Any]]) -> None:
    other = ANSWERS | {"release": "def", "models": {}}
    found = ask(serve("node1", "blue", answers=ANSWERS), serve("node1", "green", answers=other))
    assert found == [
        {"name": "node1", "slot": "blue", "error": "", **ANSWERS},
        {"name": "node1", "slot": "green", "error": "", **other},
    ]


def test_endpoints_that_tell_nothing_say_why(ask: Ask, serve: Callable[..., dict[str, Any]]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = {"name": "gone", "slot": "blue", "address": "127.0.0.1", "port": free.getsockname()[1]}
    older, strange = serve("older", "blue"), serve("strange", "blue", answers=["no", "answers"])
    impostor = serve("impostor", "blue", answers=ANSWERS, shows="another")
    found = {reading["name"]: reading for reading in ask(gone, older, strange, impostor)}
    assert all((one["models"], one["release"]) == ({}, "") for one in found.values())
    assert "refused" in found["gone"]["error"]
    assert (
        found["older"]["error"] == "it counts no answers, as an earlier version of Flotilla made its release"
    )
    assert found["strange"]["error"].startswith("127.0.0.1:")
    assert "certificate is not valid for 'impostor.endpoint.flotilla'" in found["impostor"]["error"]

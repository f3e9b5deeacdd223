"""Mistakes in how Ansible reaches the machines, and weights that are too large."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.addresses import addresses_of
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory import command_line, machines
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.fleet import HIGHEST_WEIGHT

from unit.plugins.inventory.inventories import errors, fleet, only_error

LOCAL = {"ansible_connection": "local"}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names in the DNS; each test asks anew."""
    known = {"localhost": "127.0.0.1", "n1.example": "192.0.2.11"}

    def look_up(name: str, *_: object, **__: object) -> list[Any]:
        if name not in known:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[name], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    addresses_of.cache_clear()


@pytest.mark.parametrize("variable", ["model_endpoint_address", "ansible_host"])
def test_a_node_at_an_ipv6_address(variable: str) -> None:
    found = only_error(fleet(n1={variable: "2001:db8::1"}))
    assert found == (
        f"n1: {variable} is '2001:db8::1': endpoints are reached by IPv4 only: set model_endpoint_address to an IPv4 "
        "address of the machine"
    )


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"ansible_host": "127.0.0.1"}, {"ansible_host": "localhost"}, "n1 (127.0.0.1), n2 (localhost)"),
        ({"ansible_host": "127.0.0.1"}, LOCAL, "n1 (127.0.0.1), n2 (192.0.2.12)"),
        ({"ansible_host": "127.0.0.1"}, {"ansible_host": "127.0.0.2"}, "n1 (127.0.0.1), n2 (127.0.0.2)"),
        ({}, {"ansible_host": "::ffff:192.0.2.11"}, "n1 (192.0.2.11), n2 (::ffff:192.0.2.11)"),
        ({}, {"ansible_host": "n1.example"}, "n1 (192.0.2.11), n2 (n1.example)"),
        ({}, {"ansible_host": "192.0.2.11", "ansible_port": 22}, "n1 (192.0.2.11), n2 (192.0.2.11 22)"),
    ],
    ids=["localhost", "local", "loopback", "mapped", "name", "port"],
)
def test_one_machine_in_two_spellings(first: dict[str, Any], second: dict[str, Any], words: str) -> None:
    own = {"model_endpoint_address": "192.0.2.11"}
    found = only_error(fleet(n1=own | first, n2=own | {"model_endpoint_port": 5003} | second))
    assert found.startswith(f"{words}: ansible_host and ansible_port name ")
    assert found.endswith(": write the same on all of these hosts")


def test_two_machines_are_two() -> None:
    # Behind one address, two ports lead to two machines; containers are reached by their names.
    through = {"ansible_host": "192.0.2.50"}
    first = {**through, "ansible_port": 2201, "model_endpoint_address": "10.0.0.1"}
    second = {**through, "ansible_port": 2202, "model_endpoint_address": "10.0.0.2"}
    assert errors(fleet(n1=first, n2=second)) == []
    docker = {"ansible_connection": "community.docker.docker", "model_endpoint_address": "10.0.0.1"}
    other = {**docker, "ansible_host": "two", "model_endpoint_address": "10.0.0.2"}
    assert errors(fleet(n1={**docker, "ansible_host": "one"}, n2=other)) == []
    unknown = {"ansible_host": "nowhere.example", "model_endpoint_address": "10.0.0.1"}
    assert errors(fleet(n1=unknown)) == []


def test_an_address_of_this_machine_is_this_machine() -> None:
    assert machines._is_own("127.0.0.1")
    assert not machines._is_own("192.0.2.77")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ansible_host": "192.0.2.9"}, "ansible_host is '192.0.2.9'"),
        ({"ansible_host": "127.0.0.1", "ansible_port": 2222}, "ansible_host is '127.0.0.1'"),
        (
            {"ansible_connection": "community.docker.docker"},
            "ansible_connection is 'community.docker.docker'",
        ),
    ],
    ids=["elsewhere", "forwarded", "container"],
)
def test_a_host_called_localhost_that_is_another_machine(variables: dict[str, Any], words: str) -> None:
    hosts, groups = fleet()
    hosts["localhost"] = variables
    found = only_error((hosts, groups))
    assert found.startswith(f"localhost: {words}: a host of this name stands for the controller")


@pytest.mark.parametrize("variables", [{}, LOCAL, {"ansible_host": "127.0.0.1"}])
def test_a_host_called_localhost_that_is_this_machine_is_fine(variables: dict[str, Any]) -> None:
    hosts, groups = fleet()
    hosts["localhost"] = variables
    assert errors((hosts, groups)) == []


@pytest.mark.parametrize(("value", "refused"), [(True, True), ("yes", True), (False, False), ("no", False)])
def test_root_for_the_controller(value: object, refused: bool) -> None:
    hosts, groups = fleet()
    hosts["localhost"] = {"ansible_become": value}
    assert len(errors((hosts, groups))) == refused
    assert errors(fleet(lb={"ansible_become": True})) == []


def test_weights_that_nginx_can_not_add_up() -> None:
    third = HIGHEST_WEIGHT // 3
    assert errors(fleet(**{node: {"model_endpoint_weight": third} for node in ("n1", "n2", "n3")})) == []
    found = only_error(fleet(n1={"model_endpoint_weight": HIGHEST_WEIGHT}))
    assert found == (
        f"n1: model_endpoint_weight is {HIGHEST_WEIGHT}: the weights of model_nodes add up to {HIGHEST_WEIGHT + 2}, "
        f"and Nginx can't count beyond {HIGHEST_WEIGHT}: set smaller ones, as only their ratios matter"
    )


@pytest.mark.parametrize(
    ("options", "strategy", "words"),
    [
        ({"tags": ["one", "two"]}, "linear", "--tags one,two is refused"),
        ({"tags": ["all"], "skip_tags": ["x"]}, "linear", "--skip-tags x is refused"),
        ({"start_at_task": "Build"}, "linear", "--start-at-task 'Build' is refused"),
        ({}, "host_pinned", "The strategy 'host_pinned' is refused"),
        ({"tags": ["all"], "skip_tags": []}, "ansible.builtin.linear", ""),
        ({"tags": ["always"]}, "linear", ""),
        ({"skip_tags": ["molecule-notest", "notest", "molecule-idempotence-notest"]}, "linear", ""),
        ({"tags": ["x"], "listtasks": True}, "linear", ""),
    ],
)
def test_options_that_would_leave_out_steps(options: dict[str, Any], strategy: str, words: str) -> None:
    found = command_line.refusal(options, strategy)
    assert words in found
    assert bool(found) == bool(words)

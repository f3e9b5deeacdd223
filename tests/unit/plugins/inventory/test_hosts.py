"""Mistakes in the addresses and names of hosts."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.addresses import addresses_of

from unit.plugins.inventory.inventories import errors, fleet, only_error


@pytest.mark.parametrize(
    ("host", "variable"),
    [("n1", "model_endpoint_address"), ("lb", "nginx_lb_address"), ("lb", "registry_address")],
)
@pytest.mark.parametrize(
    "address", ["n1.example", "192.0.2.300", "[::1]", "192.0.2.1:80", "", "fe80::1%eth0", 5]
)
def test_an_address_that_is_no_address(host: str, variable: str, address: object) -> None:
    found = only_error(fleet(**{host: {variable: address}}))
    assert found == f"{host}: {variable} is {address!r}: set a literal IP address, such as 192.0.2.10"


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::ffff:0.0.0.0"])
def test_an_address_that_means_every_address_of_the_machine(address: str) -> None:
    found = only_error(fleet(n1={"model_endpoint_address": address}))
    assert found.startswith(f"n1: model_endpoint_address is '{address}': this means every address")


CANT_RESOLVE = (
    "the controller can't resolve this name: set machine_address to an IP address, or to a name it can"
)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of the names that the controller resolves."""
    known: dict[str, list[str]] = {}

    def getaddrinfo(name: str, *_: object) -> list[tuple[object, ...]]:
        if name not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in known[name]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    addresses_of.cache_clear()
    return known


def test_a_name_that_the_controller_resolves_is_an_address(names: dict[str, list[str]]) -> None:
    names["n1.lan"] = ["192.0.2.61", "192.0.2.61"]
    assert errors(fleet(n1={"ansible_host": "n1.lan"})) == []
    assert errors(fleet(n1={"ansible_host": "203.0.113.1", "machine_address": "n1.lan"})) == []
    # It collides with whatever else is at that address.
    found = only_error(fleet(n1={"ansible_host": "n1.lan"}, n2={"ansible_host": "192.0.2.61"}))
    assert found.startswith("n1 (5001), n2 (5001): model_endpoint_port overlaps at 192.0.2.61")


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("variable", ["ansible_host", "machine_address"])
def test_a_name_that_the_controller_can_t_resolve(variable: str) -> None:
    assert only_error(fleet(n1={variable: "n1.lan"})) == f"n1: {variable} is 'n1.lan': {CANT_RESOLVE}"
    # Where an SSH configuration knows the name, the addresses of the machine's services are enough.
    addressed = {"ansible_host": "n1.lan", "model_endpoint_address": "192.0.2.61"}
    assert errors(fleet(n1=addressed)) == []


@pytest.mark.usefixtures("names")
def test_a_load_balancer_s_name_that_can_t_be_resolved_is_told_once() -> None:
    hosts, groups = fleet()
    del hosts["lb"]["ansible_host"]
    assert errors((hosts, groups)) == [f"lb: inventory_hostname is 'lb': {CANT_RESOLVE}"]
    hosts["lb"]["nginx_lb_address"] = "192.0.2.1"
    assert len(errors((hosts, groups))) == 1, "the registry is on it too"
    # With a builder of its own the registry is elsewhere.
    assert errors((hosts, {**groups, "image_builder": ["n1"]})) == []


def test_a_name_with_several_addresses_or_the_controller_s_own(names: dict[str, list[str]]) -> None:
    names["n1.lan"] = ["192.0.2.62", "192.0.2.61"]
    assert only_error(fleet(n1={"ansible_host": "n1.lan"})).endswith(
        "this name has the addresses 192.0.2.61, 192.0.2.62: set machine_address to one of them"
    )
    names["me"] = ["127.0.1.1"]
    assert only_error(fleet(n1={"machine_address": "me"})).startswith(
        "n1: machine_address is 'me': this name is 127.0.1.1 on the controller, where no other machine is"
    )


def test_hosts_of_one_machine_have_the_same_address() -> None:
    gateway = {"ansible_host": "203.0.113.1"}
    hosts, groups = fleet(
        n1={**gateway, "ansible_port": 2201, "machine_address": "10.0.0.1"},
        n2={**gateway, "ansible_port": 2202, "machine_address": "10.0.0.2"},
    )
    assert errors((hosts, groups)) == []
    hosts["n2"]["machine_address"] = "10.0.0.1"
    hosts["n2"]["model_endpoint_port"] = 5003
    assert only_error((hosts, groups)).startswith(
        "n1, n2: machine_address is '10.0.0.1' on all, though Ansible"
    )
    hosts["n2"]["ansible_port"] = 2201
    assert errors((hosts, groups)) == []
    del hosts["n2"]["machine_address"]
    assert errors((hosts, groups))[0].startswith("n1, n2: machine_address is not the same on all")


@pytest.mark.parametrize("name", ["-n", "n 1", "nöde", "a/b", "n" * 64, "2001:db8::5", "n..1", "n."])
def test_a_name_unfit_for_a_container(name: str) -> None:
    hosts, groups = fleet()
    hosts[name] = {"ansible_host": "192.0.2.50"}
    groups["model_nodes"].append(name)
    assert only_error((hosts, groups)).startswith(f"{name}: inventory_hostname is '{name}': a container or ")


def test_the_longest_name_fits() -> None:
    hosts, groups = fleet()
    hosts["n" * 63] = {"ansible_host": "192.0.2.50"}
    groups["model_nodes"].append("n" * 63)
    assert errors((hosts, groups)) == []

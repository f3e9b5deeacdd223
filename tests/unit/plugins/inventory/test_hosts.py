"""Mistakes in the addresses and names of hosts."""

from __future__ import annotations

import pytest

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


def test_a_name_in_place_of_a_node_s_address() -> None:
    found = only_error(fleet(n1={"ansible_host": "n1.lan"}))
    assert (
        found == "n1: ansible_host is 'n1.lan': this is not an IP address: set model_endpoint_address to one"
    )


def test_a_name_in_place_of_the_load_balancer_s_address_concerns_the_registry_on_it_too() -> None:
    hosts, groups = fleet()
    del hosts["lb"]["ansible_host"]
    balancer, registry = (
        f"lb: inventory_hostname is 'lb': this is not an IP address: set {variable} to one"
        for variable in ("nginx_lb_address", "registry_address")
    )
    assert errors((hosts, groups)) == [balancer, registry]
    # With a builder of its own the registry is elsewhere.
    assert errors((hosts, {**groups, "image_builder": ["n1"]})) == [balancer]


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

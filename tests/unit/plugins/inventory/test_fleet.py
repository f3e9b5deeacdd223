"""Mistakes of the whole fleet: its groups, its virtual address, and how many nodes are up."""

from __future__ import annotations

import pytest

from unit.plugins.inventory.inventories import errors, fleet, only_error, two_balancers


@pytest.mark.parametrize("group", ["load_balancers", "model_nodes"])
@pytest.mark.parametrize("missing", [True, False])
def test_a_group_without_hosts(group: str, missing: bool) -> None:
    hosts, groups = fleet()
    if missing:
        del groups[group]
    else:
        groups[group] = []
    assert only_error((hosts, groups)).startswith(f"{group}: the group has no host: add a host")


def test_a_misspelt_group_is_named() -> None:
    hosts, groups = fleet()
    groups["model_node"] = groups.pop("model_nodes")
    assert only_error((hosts, groups)).endswith(", or rename the group model_node to model_nodes")


def test_more_than_one_builder() -> None:
    hosts, groups = fleet()
    found = only_error((hosts, {**groups, "image_builder": ["n1", "n2"]}))
    assert found == "image_builder: the group has 2 hosts (n1, n2): leave one in the group"


def test_every_node_drained() -> None:
    drained = {"model_endpoint_state": "drained"}
    found = only_error(fleet(n1=drained, n2=drained, n3=drained))
    assert found.startswith("n1, n2, n3: model_endpoint_state is 'drained' on every host of model_nodes")
    assert found.endswith("set it to present on at least one host")


@pytest.mark.parametrize("address", ["192.0.2.100", "192.0.2.100/24", None])
def test_a_virtual_address_that_both_load_balancers_have_is_fine(address: str | None) -> None:
    variables = {"virtual_address_ip": address}
    assert errors(two_balancers(variables, variables)) == []


@pytest.mark.parametrize(
    "address",
    [
        "192.0.2.300",
        "192.0.2.100/33",
        "192.0.2.100/255.255.255.0",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.18/24",
        "2001:db8::1",
        "",
        192,
        "frontend.example",
    ],
)
def test_a_virtual_address_that_is_no_ipv4_address(address: object) -> None:
    variables = {"virtual_address_ip": address}
    assert only_error(two_balancers(variables, variables)) == (
        f"lb, lb2: virtual_address_ip is {address!r}: set an IPv4 address, such as 192.0.2.10 or 192.0.2.10/24"
    )


def test_a_virtual_address_needs_two_load_balancers() -> None:
    assert only_error(fleet(lb={"virtual_address_ip": "192.0.2.100"})) == (
        "lb: virtual_address_ip is '192.0.2.100': only one load balancer could have this address: "
        "add a second host to load_balancers, or delete virtual_address_ip"
    )


@pytest.mark.parametrize("second", [{}, {"virtual_address_ip": "192.0.2.101"}])
def test_a_virtual_address_is_the_same_on_all_load_balancers(second: dict[str, str]) -> None:
    shown = repr(second["virtual_address_ip"]) if second else "empty"
    assert only_error(two_balancers({"virtual_address_ip": "192.0.2.100"}, second)) == (
        f"lb ('192.0.2.100'), lb2 ({shown}): virtual_address_ip is not the same on all: "
        "set it for the group load_balancers"
    )


@pytest.mark.parametrize(("address", "owner"), [("192.0.2.2/24", "lb2"), ("192.0.2.12", "n2")])
def test_a_virtual_address_is_not_the_address_of_a_machine(address: str, owner: str) -> None:
    variables = {"virtual_address_ip": address}
    assert only_error(two_balancers(variables, variables)) == (
        f"lb, lb2: virtual_address_ip is '{address}': this is the address of {owner}: "
        "set one that no machine has"
    )


def test_a_virtual_address_moves_between_ipv4_addresses_only() -> None:
    variables = {"virtual_address_ip": "192.0.2.100"}
    found = only_error(two_balancers(variables, {**variables, "nginx_lb_address": "2001:db8::2"}))
    assert found.startswith(
        "lb2: nginx_lb_address is '2001:db8::2': virtual_address_ip needs an IPv4 address"
    )


def test_hosts_of_several_folders_say_where_the_fleet_s_own_folders_are() -> None:
    folders = ({"inventory_dir": "/balancers"}, {"inventory_dir": "/nodes"})
    hosts, groups = fleet(lb=folders[0], n1=folders[1])
    assert only_error((hosts, groups)) == (
        "the inventory's hosts come from 2 folders (/balancers, /nodes), and each host would have its own"
        " internal_ca_directory, model_image_models, release_verdict_directory: set these for the group all, or name"
        " all hosts in one folder"
    )
    # As where one folder names the hosts and others add variables.
    one = {name: {**variables, "inventory_dir": "/one"} for name, variables in hosts.items()}
    assert errors((one, groups)) == []


def test_as_many_nodes_as_there_are_on_every_load_balancer_is_one_line() -> None:
    hosts, groups = fleet(lb={"release_min_nodes": 2}, n1={"release_min_nodes": 2})
    found = only_error((hosts, {**groups, "load_balancers": ["lb", "n1"], "model_nodes": ["n2"]}))
    assert found == "lb, n1: release_min_nodes is 2: model_nodes has 1 host: set at most 1, or add hosts"

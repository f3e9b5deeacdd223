"""Ports that are out of range, and ports that two services of one machine would share."""

from __future__ import annotations

import pytest

from unit.plugins.inventory.inventories import errors, fleet, only_error


@pytest.mark.parametrize(
    ("host", "variable", "highest"),
    [
        ("n1", "model_endpoint_port", 65534),
        ("lb", "nginx_lb_port", 65535),
        ("lb", "nginx_lb_status_port", 65535),
        ("lb", "registry_port", 65535),
    ],
)
@pytest.mark.parametrize("port", [0, -1, 65536, "http", 80.5, True, None])
def test_a_port_out_of_range(host: str, variable: str, highest: int, port: object) -> None:
    found = only_error(fleet(**{host: {variable: port}}))
    assert found.startswith(f"{host}: {variable} is ")
    assert found.endswith(f": set a port from 1 to {highest}")


def test_the_highest_port_leaves_none_for_an_endpoint_s_second_slot() -> None:
    assert errors(fleet(n1={"model_endpoint_port": 65535})) == [
        "n1: model_endpoint_port is 65535: set a port from 1 to 65534"
    ]
    assert errors(fleet(lb={"nginx_lb_port": 65535})) == []


@pytest.mark.parametrize("address", ["192.0.2.11", "::ffff:192.0.2.11"])
def test_two_endpoints_on_one_port_of_one_machine(address: str) -> None:
    assert only_error(fleet(n2={"model_endpoint_address": address})) == (
        "n1 (5001), n2 (5001): model_endpoint_port overlaps at 192.0.2.11, because an endpoint uses its port "
        "and the next one: set another port on n2, such as 5003"
    )


def test_an_endpoint_on_the_second_slot_of_another() -> None:
    same = {"model_endpoint_address": "::ffff:192.0.2.13"}
    found = only_error(fleet(n1={**same, "model_endpoint_port": 5002}))
    assert found.startswith("n3 (5001), n1 (5002): model_endpoint_port overlaps at 192.0.2.13")
    assert errors(fleet(n1={**same, "model_endpoint_port": 5003})) == []


@pytest.mark.parametrize(
    ("port", "variable", "taken"),
    [
        (80, "nginx_lb_port", 80),
        (79, "nginx_lb_port", 80),
        (8089, "nginx_lb_status_port", 8090),
        (5000, "registry_port", 5000),
        (4999, "registry_port", 5000),
    ],
)
def test_an_endpoint_port_taken_on_its_machine(port: int, variable: str, taken: int) -> None:
    cause = f"n1: model_endpoint_port is {port}: {variable} of lb uses port {taken} of the same machine"
    beside = fleet(n1={"ansible_host": "192.0.2.1", "model_endpoint_port": port})
    assert only_error(beside) == f"{cause}: set another model_endpoint_port"
    assert errors(fleet(n1={"model_endpoint_port": port})) == []


def test_a_host_that_is_both_is_one_machine_whatever_its_addresses() -> None:
    hosts, groups = fleet(n1={"model_endpoint_port": 80, "nginx_lb_address": "192.0.2.200"})
    found = only_error((hosts, {**groups, "load_balancers": ["lb", "n1"]}))
    assert found.startswith("n1: model_endpoint_port is 80: nginx_lb_port of n1 uses port 80")


def test_the_load_balancer_s_own_ports_collide() -> None:
    found = only_error(fleet(lb={"nginx_lb_status_port": 80}))
    assert found.startswith("lb: nginx_lb_port is 80: nginx_lb_status_port of lb uses port 80")

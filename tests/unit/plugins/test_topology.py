"""What the playbooks read out of the inventory: hosts, machines, addresses and ports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.modules import nginx_configuration
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    KEEPALIVED_CONTAINER,
    NGINX_CONTAINER,
    REGISTRY_CONTAINERS,
    container_name,
    drained_nodes,
    endpoint_address,
    fleet_hosts,
    holds_address,
    host_address,
    image_builder,
    machine_addresses,
    machines,
    other_slot,
    peer_addresses,
    standby_first,
    status_port,
    tls_port,
    virtual_address,
    with_port,
)

from small_fleet import GROUPS, HOSTVARS

ROLES = Path(__file__).parents[3] / "roles"


def test_an_address_is_the_variable_else_ansible_host_else_the_name() -> None:
    assert host_address(HOSTVARS, "lb2", "nginx_lb_address") == "10.1.0.2"
    assert host_address(HOSTVARS, "lb1", "nginx_lb_address") == "10.0.0.1"
    assert host_address({"10.0.0.7": {}}, "10.0.0.7") == "10.0.0.7"


def test_machine_address_comes_before_ansible_host_and_is_no_machine_s_identity() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        "lb": {"ansible_host": "203.0.113.9", "machine_address": "10.0.0.1", "registry_address": "10.0.1.1"},
        "n1": {"ansible_host": "203.0.113.9", "machine_address": "10.0.0.1"},
        "n2": {"ansible_host": "203.0.113.9", "ansible_port": 2202, "model_endpoint_address": "10.0.0.3"},
        "n3": {"ansible_host": "no-such-name", "model_endpoint_address": "10.0.0.4"},
    }
    groups = {"load_balancers": ["lb"], "model_nodes": ["n1", "n2", "n3"]}
    assert (
        host_address(hostvars, "n1") == host_address(hostvars, "n1", "model_endpoint_address") == "10.0.0.1"
    )
    assert host_address(hostvars, "n2", "model_endpoint_address") == "10.0.0.3"
    assert [entry["first"] for entry in machines(hostvars, list(hostvars))] == ["lb", "lb", "n2", "n3"]
    assert machine_addresses(hostvars, groups) == {
        "203.0.113.9": {"10.0.0.1", "10.0.1.1"},
        "203.0.113.9 2202": {"203.0.113.9", "10.0.0.3"},
        "no-such-name": {"10.0.0.4"},
    }


def test_an_ipv6_address_gets_brackets() -> None:
    assert with_port("10.0.0.1", 80) == "10.0.0.1:80"
    assert with_port("2001:db8::1", 80) == "[2001:db8::1]:80"


def test_the_load_balancer_that_holds_the_virtual_address_comes_last() -> None:
    variables = {"virtual_address_ip": "10.0.0.100/24"}
    seen = [{"10.0.0.1": "eth0", "10.0.0.100": "eth0"}, {"10.0.0.2": "eth0"}]
    hostvars: dict[str, dict[str, Any]] = {
        name: {**variables, "flotilla_machine": {"addresses": addresses}}
        for name, addresses in zip(("lb1", "lb2"), seen, strict=True)
    }
    hostvars["away"] = variables
    assert virtual_address(hostvars, {"load_balancers": ["lb2"]}) == "10.0.0.100"
    assert peer_addresses(HOSTVARS, GROUPS, "lb1") == ["10.1.0.2"]
    assert [holds_address(hostvars, host) for host in ("lb1", "lb2", "away")] == [True, False, False]
    assert standby_first(["lb1", "away", "lb2"], hostvars) == ["away", "lb2", "lb1"]


def test_without_a_virtual_address_load_balancers_keep_their_order() -> None:
    hostvars = {name: {"flotilla_machine": {"addresses": {"10.0.0.1": "eth0"}}} for name in ("lb2", "lb1")}
    assert virtual_address(hostvars, {"load_balancers": ["lb1"]}) == ""
    assert standby_first(["lb2", "lb1"], hostvars) == ["lb2", "lb1"]


def test_the_builder_is_the_host_of_its_group_else_the_first_load_balancer() -> None:
    assert image_builder(GROUPS) == "lb1"
    assert image_builder({**GROUPS, "image_builder": ["node2"]}) == "node2"
    with pytest.raises(AnsibleFilterError, match="load_balancers or image_builder"):
        image_builder({"load_balancers": []})


def test_the_fleet_is_the_hosts_of_its_groups() -> None:
    assert fleet_hosts({**GROUPS, "image_builder": ["lb1"]}) == ["lb1", "lb2", "node1", "node2"]


def test_hosts_with_the_same_address_and_ssh_port_are_one_machine() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        "a": {"ansible_host": "127.0.0.1"},
        "b": {"ansible_host": "127.0.0.1"},
        "c": {"ansible_host": "127.0.0.1", "ansible_port": 2222},
    }
    assert machines(hostvars, ["b", "c", "a"]) == [
        {"host": "a", "group": "flotilla_machines", "first": "a"},
        {"host": "b", "group": "flotilla_cohosted", "first": "a"},
        {"host": "c", "group": "flotilla_machines", "first": "c"},
    ]
    assert machines(hostvars, ["b"]) == [{"host": "b", "group": "flotilla_machines", "first": "b"}]


def test_the_status_port_is_that_of_the_load_balancer_on_the_machine() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        **HOSTVARS,
        "lb2": {"ansible_host": "10.0.0.2", "nginx_lb_status_port": "8091"},
        "beside": {"ansible_host": "10.0.0.2"},
    }
    found = {host: status_port(hostvars, GROUPS, host) for host in ("lb1", "lb2", "beside", "node1")}
    assert found == {"lb1": 8090, "lb2": 8091, "beside": 8091, "node1": 0}


def test_the_tls_port_is_that_of_a_load_balancer_with_tls() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        **HOSTVARS,
        "lb1": {"ansible_host": "10.0.0.1", "nginx_lb_tls": "own"},
        "lb2": {"ansible_host": "10.0.0.2", "nginx_lb_tls": False, "nginx_lb_tls_port": 8443},
        "beside": {"ansible_host": "10.0.0.1"},
    }
    found = {host: tls_port(hostvars, GROUPS, host) for host in ("lb1", "lb2", "beside", "node1")}
    assert found == {"lb1": 443, "lb2": 0, "beside": 443, "node1": 0}
    hostvars["lb2"]["nginx_lb_tls"] = "internal"
    assert tls_port(hostvars, GROUPS, "lb2") == 8443


def test_the_address_of_an_endpoint_is_its_node_s_with_the_slot_s_port() -> None:
    hostvars = {**HOSTVARS, "node2": {"ansible_host": "n2", "model_endpoint_address": "10.1.0.12"}}
    found = [endpoint_address(hostvars, node, "blue") for node in ("node1", "node2")]
    assert found == [
        {"name": "node1", "address": "10.0.0.11", "port": 5001},
        {"name": "node2", "address": "10.1.0.12", "port": 5001},
    ]
    hostvars["node2"]["model_endpoint_port"] = "6001"
    assert endpoint_address(hostvars, "node2", "green") == {
        "name": "node2",
        "address": "10.1.0.12",
        "port": 6002,
    }


def test_nodes_are_drained_by_the_inventory_or_by_the_state() -> None:
    hostvars = {**HOSTVARS, "node2": {"model_endpoint_state": "drained"}, "node3": {}}
    assert drained_nodes(hostvars, ["node1", "node2", "node3"], {"drained": ["node1", "gone"]}) == [
        "node1",
        "node2",
    ]


def test_a_container_is_named_after_its_node_and_slot() -> None:
    assert container_name("node1", other_slot("blue")) == "flotilla-node1-green"
    assert container_name("node1", other_slot("green")) == "flotilla-node1-blue"


def test_the_containers_of_load_balancers_and_builder_are_those_that_the_roles_run() -> None:
    names: dict[str, list[str]] = {}
    for role in ("nginx_lb", "virtual_address", "registry"):
        text = (ROLES / role / "vars/main.yml").read_text()
        names[role] = re.findall(r"\bname'?: '?(flotilla-[a-z-]+)", text)
    assert names == {
        "nginx_lb": [NGINX_CONTAINER],
        "virtual_address": [KEEPALIVED_CONTAINER],
        "registry": [*REGISTRY_CONTAINERS],
    }
    assert nginx_configuration.CONTAINER == NGINX_CONTAINER

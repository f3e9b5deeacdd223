"""What the playbooks read out of the inventory."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from filter.fleet import (
    fleet_certificates,
    fleet_hosts,
    guarded_ports,
    host_address,
    image_builder,
    machine_group,
    upstream_servers,
    with_port,
)

GROUPS = {
    "load_balancers": ["lb1", "lb2"],
    "model_nodes": ["node1", "node2"],
    "all": ["lb1", "lb2", "node1", "node2", "db"],
}
HOSTVARS: dict[str, dict[str, Any]] = {
    "lb1": {"ansible_host": "10.0.0.1"},
    "lb2": {"ansible_host": "10.0.0.2", "nginx_lb_address": "10.1.0.2"},
    "node1": {"ansible_host": "10.0.0.11", "model_endpoint_weight": "3"},
    "node2": {"ansible_host": "10.0.0.12", "model_endpoint_port": 6001},
    "db": {"ansible_host": "10.0.0.99"},
}


def test_an_address_is_the_variable_else_ansible_host_else_the_name() -> None:
    assert host_address(HOSTVARS, "lb2", "nginx_lb_address") == "10.1.0.2"
    assert host_address(HOSTVARS, "lb1", "nginx_lb_address") == "10.0.0.1"
    assert host_address({"10.0.0.7": {}}, "10.0.0.7") == "10.0.0.7"


def test_an_ipv6_address_gets_brackets() -> None:
    assert with_port("10.0.0.1", 80) == "10.0.0.1:80"
    assert with_port("2001:db8::1", 80) == "[2001:db8::1]:80"


def test_the_builder_is_the_group_s_host_else_the_first_load_balancer() -> None:
    assert image_builder(GROUPS) == "lb1"
    assert image_builder({**GROUPS, "image_builder": ["node2"]}) == "node2"
    with pytest.raises(AnsibleFilterError, match="load_balancers or image_builder"):
        image_builder({"load_balancers": []})


def test_the_fleet_is_its_groups_and_no_other_host() -> None:
    assert fleet_hosts({**GROUPS, "image_builder": ["lb1"]}) == ["lb1", "lb2", "node1", "node2"]


def test_hosts_of_one_address_and_ssh_port_are_one_machine() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        "a": {"ansible_host": "127.0.0.1"},
        "b": {"ansible_host": "127.0.0.1"},
        "c": {"ansible_host": "127.0.0.1", "ansible_port": 2222},
    }
    assert machine_group(hostvars, "a") == machine_group(hostvars, "b") != machine_group(hostvars, "c")


def test_the_upstream_has_each_endpoint_with_its_weight() -> None:
    assert upstream_servers(HOSTVARS, GROUPS["model_nodes"]) == [
        {"name": "node1", "address": "10.0.0.11", "port": 5001, "weight": 3},
        {"name": "node2", "address": "10.0.0.12", "port": 6001, "weight": 1},
    ]


def test_the_green_slot_has_the_next_port() -> None:
    assert [server["port"] for server in upstream_servers(HOSTVARS, ["node1", "node2"], "green")] == [
        5002,
        6002,
    ]
    with pytest.raises(AnsibleFilterError, match="blue or green"):
        upstream_servers(HOSTVARS, ["node1"], "red")


def test_a_drained_endpoint_is_left_out_and_the_last_may_not_be() -> None:
    hostvars = {**HOSTVARS, "node2": {**HOSTVARS["node2"], "model_endpoint_state": "drained"}}
    assert [server["name"] for server in upstream_servers(hostvars, ["node1", "node2"])] == ["node1"]
    with pytest.raises(AnsibleFilterError, match="model_endpoint_state: present"):
        upstream_servers(hostvars, ["node2"])


def test_endpoints_let_in_the_load_balancers_and_the_registry_the_fleet() -> None:
    guarded = guarded_ports(HOSTVARS, GROUPS, "10.0.0.1:5000")
    balancers = ["10.0.0.1", "10.1.0.2"]
    assert guarded == {
        "10.0.0.11": [{"address": "10.0.0.11", "ports": "5001:5002", "sources": balancers}],
        "10.0.0.12": [{"address": "10.0.0.12", "ports": "6001:6002", "sources": balancers}],
        "10.0.0.1": [
            {
                "address": "10.0.0.1",
                "ports": "5000",
                "sources": ["10.0.0.1", "10.0.0.11", "10.0.0.12", "10.0.0.2", "10.1.0.2"],
            }
        ],
    }


def test_loopback_needs_no_guard_and_ipv6_can_have_none() -> None:
    local: dict[str, dict[str, Any]] = {
        "lb1": {"ansible_host": "127.0.0.1"},
        "node1": {"ansible_host": "127.0.0.1"},
    }
    groups = {"load_balancers": ["lb1"], "model_nodes": ["node1"]}
    assert guarded_ports(local, groups, "172.17.0.1:5000") == {}
    with pytest.raises(AnsibleFilterError, match="node1: 2001:db8::1 is an IPv6 address"):
        guarded_ports({**local, "node1": {"ansible_host": "2001:db8::1"}}, groups, "172.17.0.1:5000")


def test_every_machine_has_one_certificate_and_the_registry_its_own() -> None:
    certificates = fleet_certificates(
        {**HOSTVARS, "node2": {"ansible_host": "10.0.0.11"}}, GROUPS, "10.0.0.1"
    )
    assert certificates[0] == {"name": "registry", "usage": "server", "addresses": ["10.0.0.1"]}
    assert [entry["name"] for entry in certificates[1:]] == [
        "machine-10.0.0.1",
        "machine-10.0.0.11",
        "machine-10.0.0.2",
    ]

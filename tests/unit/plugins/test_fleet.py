"""What the playbooks read out of the inventory."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from filter.fleet import (
    door_certificates,
    fleet_certificates,
    fleet_hosts,
    guarded_ports,
    holds_address,
    host_address,
    image_builder,
    machines,
    out_of_date,
    peer_addresses,
    standby_first,
    status_port,
    tls_port,
    virtual_address,
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


def test_the_load_balancer_that_holds_the_virtual_address_comes_last() -> None:
    variables = {"nginx_lb_virtual_address": "10.0.0.100/24"}
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
    assert machines(hostvars, ["b", "c", "a"]) == [
        {"host": "a", "group": "flotilla_machines", "first": "a"},
        {"host": "b", "group": "flotilla_twins", "first": "a"},
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


def test_the_tls_port_is_that_of_a_load_balancer_that_speaks_it() -> None:
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


def test_a_door_s_certificate_holds_for_all_that_clients_know_it_by() -> None:
    tls = {"nginx_lb_tls": "internal", "nginx_lb_virtual_address": "10.0.0.100/24"}
    hostvars: dict[str, dict[str, Any]] = {
        **HOSTVARS,
        "lb1": {**tls, "ansible_host": "lb1.example", "nginx_lb_address": "10.0.0.1"},
        "lb2": {**HOSTVARS["lb2"], **tls, "nginx_lb_tls_names": ["models.example"]},
    }
    assert door_certificates(hostvars, GROUPS) == [
        {
            "name": "door-lb1",
            "usage": "server",
            "addresses": ["10.0.0.1", "10.0.0.100"],
            "names": ["lb1.example"],
        },
        {
            "name": "door-lb2",
            "usage": "server",
            "addresses": ["10.0.0.2", "10.1.0.2", "10.0.0.100"],
            "names": ["models.example"],
        },
    ]
    assert fleet_certificates(hostvars, GROUPS, "10.0.0.1")[-2:] == door_certificates(hostvars, GROUPS)
    assert door_certificates(HOSTVARS, GROUPS) == []


def test_files_are_out_of_date_by_content_mode_or_owner_or_when_missing() -> None:
    digest = hashlib.sha256(b"one\n").hexdigest()
    plain = {"path": "/plain", "content": "one\n"}
    key = {"path": "/key", "content": "one\n", "mode": "0400", "owner": 10003}
    present = {"/plain": f"{digest}:0644:0", "/key": f"{digest}:0400:10003", "/other": "0:0644:0"}
    assert out_of_date([plain, key], present) == []
    assert out_of_date([{**plain, "content": "two\n"}, key], present) == ["/plain"]
    assert out_of_date([{**plain, "mode": "0755"}, {**key, "owner": 0}], present) == ["/plain", "/key"]
    assert out_of_date([plain], {}) == ["/plain"]


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

"""What the playbooks read out of the inventory."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.filter.fleet import (
    balancer_certificates,
    door_certificates,
    file_states,
    fleet_certificates,
    guarded_ports,
    holds_certificates,
    machine_certificates,
    out_of_date,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    fleet_hosts,
    holds_address,
    host_address,
    image_builder,
    machines,
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
REGISTRIES = "10.0.0.1:5000", "10.0.0.1:5080"
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
    tls = {"nginx_lb_tls": "internal", "virtual_address_ip": "10.0.0.100/24"}
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


def test_endpoints_let_in_the_load_balancers_and_the_registry_the_fleet_to_pull() -> None:
    guarded = guarded_ports(HOSTVARS, GROUPS, *REGISTRIES)
    balancers = ["10.0.0.1", "10.1.0.2"]
    assert guarded == {
        "10.0.0.11": [{"address": "10.0.0.11", "ports": "5001:5002", "sources": balancers}],
        "10.0.0.12": [{"address": "10.0.0.12", "ports": "6001:6002", "sources": balancers}],
        "10.0.0.1": [
            {
                "address": "10.0.0.1",
                "ports": "5000",
                "sources": ["10.0.0.1", "10.0.0.11", "10.0.0.12", "10.0.0.2", "10.1.0.2"],
            },
            {"address": "10.0.0.1", "ports": "5080", "sources": ["10.0.0.1"]},
        ],
    }


def test_loopback_needs_no_guard_and_ipv6_can_have_none() -> None:
    local: dict[str, dict[str, Any]] = {
        "lb1": {"ansible_host": "127.0.0.1"},
        "node1": {"ansible_host": "127.0.0.1"},
    }
    groups = {"load_balancers": ["lb1"], "model_nodes": ["node1"]}
    assert guarded_ports(local, groups, "172.17.0.1:5000", "172.17.0.1:5080") == {}
    with pytest.raises(AnsibleFilterError, match="node1: 2001:db8::1 is an IPv6 address"):
        guarded_ports({**local, "node1": {"ansible_host": "2001:db8::1"}}, groups, *REGISTRIES)


def test_every_machine_endpoint_and_load_balancer_has_a_certificate_and_nodes_none_of_a_load_balancer_s() -> (
    None
):
    certificates = fleet_certificates(
        {**HOSTVARS, "node2": {"ansible_host": "10.0.0.11"}}, GROUPS, "10.0.0.1"
    )
    assert certificates == [
        {"name": "registry", "usage": "server", "addresses": ["10.0.0.1"]},
        {"name": "builder", "usage": "client", "authority": "builder"},
        {"name": "machine-10.0.0.1", "usage": "client"},
        {"name": "machine-10.0.0.11", "usage": "client"},
        {"name": "machine-10.0.0.2", "usage": "client"},
        {"name": "endpoint-node1", "usage": "server", "names": ["node1.endpoint.flotilla"]},
        {"name": "endpoint-node2", "usage": "server", "names": ["node2.endpoint.flotilla"]},
        {"name": "balancer-lb1", "usage": "client", "authority": "balancers"},
        {"name": "balancer-lb2", "usage": "client", "authority": "balancers"},
    ]


def issued(hostvars: dict[str, dict[str, Any]]) -> dict[str, Any]:
    names = [entry["name"] for entry in fleet_certificates(hostvars, GROUPS, "10.0.0.1")]
    return {
        "authorities": {name: f"authority {name}\n" for name in ("fleet", "balancers", "builder")},
        "certificates": {
            name: {"certificate": f"certificate {name}\n", "private_key": f"key {name}\n"} for name in names
        },
    }


def test_a_machine_gets_what_its_hosts_need_and_no_key_of_another() -> None:
    hostvars = {**HOSTVARS, "node2": {"ansible_host": "10.0.0.1"}}  # beside the load balancer, which builds
    found = machine_certificates(hostvars, GROUPS, issued(hostvars), *REGISTRIES)
    assert found.keys() == {"10.0.0.1", "10.0.0.2", "10.0.0.11"}
    assert [file["path"] for file in found["10.0.0.1"]] == [
        "/etc/docker/certs.d/10.0.0.1:5000/ca.crt",
        "/etc/docker/certs.d/10.0.0.1:5000/client.cert",
        "/etc/docker/certs.d/10.0.0.1:5000/client.key",
        "/etc/docker/certs.d/10.0.0.1:5080/ca.crt",
        "/etc/docker/certs.d/10.0.0.1:5080/client.cert",
        "/etc/docker/certs.d/10.0.0.1:5080/client.key",
        "/etc/flotilla/endpoints/node2/clients.crt",
        "/etc/flotilla/endpoints/node2/server.pem",
        "/etc/flotilla/nginx/tls/servers.crt",
        "/etc/flotilla/nginx/tls/client.pem",
    ]
    node = {file["path"]: file for file in found["10.0.0.11"]}
    assert [file["content"] for file in node.values()] == [
        "authority fleet\n",
        "certificate machine-10.0.0.11\n",
        "key machine-10.0.0.11\n",
        "authority balancers\n",
        "key endpoint-node1\ncertificate endpoint-node1\n",
    ]
    key = node["/etc/flotilla/endpoints/node1/server.pem"]
    assert (key["mode"], key["owner"]) == ("0400", 10001)
    assert node["/etc/docker/certs.d/10.0.0.1:5000/client.key"]["mode"] == "0600"


def test_what_was_written_is_as_if_it_had_been_found() -> None:
    files = machine_certificates(HOSTVARS, GROUPS, issued(HOSTVARS), *REGISTRIES)["10.0.0.2"]
    assert out_of_date(files, file_states(files)) == []


def test_a_load_balancer_s_certificates_are_told_from_others() -> None:
    present = {
        "/etc/flotilla/nginx/tls/client.pem": "a:0400:10002",
        "/etc/flotilla/nginx/nginx.conf": "b:0644:0",
    }
    told = balancer_certificates(present)
    assert told == balancer_certificates({**present, "/etc/flotilla/nginx/nginx.conf": "c:0644:0"})
    assert told != balancer_certificates({**present, "/etc/flotilla/nginx/tls/client.pem": "c:0400:10002"})
    assert told != balancer_certificates({})
    door = "/etc/flotilla/nginx/tls/door.pem"
    assert told != balancer_certificates({**present, door: "d:0400:10002"})
    assert told == balancer_certificates({**present, door: "d:0400:10002"}, [door])


def test_machines_that_have_certificates_are_known_by_their_files() -> None:
    def found(path: str) -> dict[str, dict[str, Any]]:
        return {**HOSTVARS, "node1": {"flotilla_machine": {"files": {path: "0:0400:0"}}}}

    assert holds_certificates(found("/etc/flotilla/endpoints/node1/server.pem"), ["lb1", "node1"])
    assert holds_certificates(found("/etc/flotilla/nginx/tls/client.pem"), ["node1"])
    # The registry's are no reason: without them nothing but the next pull fails.
    assert not holds_certificates(found("/etc/docker/certs.d/10.0.0.1:5000/client.key"), ["lb1", "node1"])

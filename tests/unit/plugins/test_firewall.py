"""Which ports the firewall of a machine guards."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.plugin_utils.firewall import guarded_ports

from small_fleet import GROUPS, HOSTVARS, REGISTRIES


def test_load_balancers_alone_reach_endpoints_and_the_fleet_alone_reaches_the_registry() -> None:
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


def test_a_loopback_address_has_no_guard_and_an_ipv6_address_is_refused() -> None:
    local: dict[str, dict[str, Any]] = {
        "lb1": {"ansible_host": "127.0.0.1"},
        "node1": {"ansible_host": "127.0.0.1"},
    }
    groups = {"load_balancers": ["lb1"], "model_nodes": ["node1"]}
    assert guarded_ports(local, groups, "172.17.0.1:5000", "172.17.0.1:5080") == {}
    with pytest.raises(AnsibleFilterError, match="node1: 2001:db8::1 is an IPv6 address"):
        guarded_ports({**local, "node1": {"ansible_host": "2001:db8::1"}}, groups, *REGISTRIES)

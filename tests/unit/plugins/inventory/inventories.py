"""Inventories for the tests of the check: good ones, with changes, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.check import inventory_errors
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import SPECS as OWN_SPECS
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Option

SPECS: dict[str, dict[str, Option]] = {
    "machine": {"machine_address": {"type": "str"}},
    "model_endpoint": {
        "model_endpoint_address": {"type": "str"},
        "model_endpoint_port": {"type": "int", "default": 5001},
        "model_endpoint_weight": {"type": "int", "default": 1},
        "model_endpoint_state": {"type": "str", "default": "present", "choices": ["present", "drained"]},
        "model_endpoint_memory": {"type": "str", "default": "512m"},
        "model_endpoint_cpus": {"type": "float", "default": 1.0},
        "model_endpoint_threads": {"type": "int", "default": 2},
        "model_endpoint_pids_limit": {"type": "int", "default": 256},
        "model_endpoint_trace": {"type": "bool", "default": False},
        "model_endpoint_labels": {"type": "dict", "default": {}},
        "model_endpoint_models": {"type": "list", "default": [], "choices": ["iris", "breast_cancer"]},
    },
    "nginx_lb": {
        "nginx_lb_address": {"type": "str"},
        "nginx_lb_port": {"type": "int", "default": 80},
        "nginx_lb_status_port": {"type": "int", "default": 8090},
    },
    "virtual_address": {"virtual_address_ip": {"type": "str"}},
    "registry": {
        "registry_address": {"type": "str"},
        "registry_port": {"type": "int", "default": 5000},
    },
    "release": {"release_lock_wait": {"type": "int", "default": 0}},
}


def roles(specs: Mapping[str, Mapping[str, Option]]) -> dict[str, dict[str, Mapping[str, Option]]]:
    """Roles whose entry points `main` have these options."""
    return {role: {"main": options} for role, options in specs.items()}


SETTINGS = {name for options in OWN_SPECS.values() for name in options}
"""The name of every setting that an inventory may have."""

Inventory = tuple[dict[str, dict[str, Any]], dict[str, list[str]]]


def fleet(**changes: Mapping[str, Any]) -> Inventory:
    """A good inventory (one load balancer, three nodes) with changed variables of some hosts."""
    hosts: dict[str, dict[str, Any]] = {
        "lb": {"ansible_host": "192.0.2.1"},
        "n1": {"ansible_host": "192.0.2.11"},
        "n2": {"ansible_host": "192.0.2.12"},
        "n3": {"ansible_host": "192.0.2.13"},
    }
    for name, variables in changes.items():
        hosts[name].update(variables)
    return hosts, {"all": list(hosts), "load_balancers": ["lb"], "model_nodes": ["n1", "n2", "n3"]}


def errors(inventory: Inventory) -> list[str]:
    return inventory_errors(*inventory, roles(SPECS))


def only_error(inventory: Inventory) -> str:
    found = errors(inventory)
    assert len(found) == 1, found
    assert "\n" not in found[0]
    return found[0]


def two_balancers(first: Mapping[str, Any], second: Mapping[str, Any]) -> Inventory:
    """A good inventory with a second load balancer, and these variables of the two."""
    hosts, groups = fleet(lb=first)
    hosts["lb2"] = {"ansible_host": "192.0.2.2", **second}
    return hosts, {**groups, "load_balancers": ["lb", "lb2"]}


class FailingTemplates(Mapping[str, object]):
    """Variables as Ansible hands them over: some raise when they are read, or when their items are."""

    def __init__(self, good: Mapping[str, object], broken: set[str]) -> None:
        self.good, self.broken = good, broken

    def __getitem__(self, name: str) -> object:
        if name in self.broken:
            raise RuntimeError("'nope' is\nundefined")
        return self.good[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.good, **dict.fromkeys(self.broken)})

    def __len__(self) -> int:
        return len(self.good) + len(self.broken)


KEY = "0123456789abcdef01234567"


SECRETS: dict[str, dict[str, Option]] = {
    **SPECS,
    "nginx_lb": {
        **SPECS["nginx_lb"],
        "nginx_lb_api_keys": {"type": "dict", "default": {}, "no_log": True},
        "nginx_lb_tls_certificate": {"type": "str", "default": ""},
        "nginx_lb_tls_key": {"type": "str", "default": "", "no_log": True},
        "nginx_lb_tls_port": {"type": "int", "default": 443},
        "nginx_lb_tls": {"type": "str", "default": "off"},
    },
}


WATCHED: dict[str, dict[str, Option]] = {
    **SPECS,
    "nginx_lb": {**SPECS["nginx_lb"], "nginx_lb_metrics_port": {"type": "int", "default": 9101}},
    "node_exporter": {"node_exporter_port": {"type": "int", "default": 9100}},
    "monitoring": {
        "monitoring_prometheus_port": {"type": "int", "default": 9090},
        "monitoring_alertmanager_port": {"type": "int", "default": 9093},
        "monitoring_retention_days": {"type": "int", "default": 30},
        "monitoring_retention_size": {"type": "str", "default": "10GB"},
        "monitoring_outside": {"type": "list", "default": []},
    },
}


def watched(*monitoring: str, **changes: Mapping[str, Any]) -> Inventory:
    """A good inventory with these hosts in the group monitoring, `watch` for one, and changed variables."""
    hosts, groups = fleet()
    hosts["watch"] = {"ansible_host": "192.0.2.50"}
    for name, variables in changes.items():
        hosts[name].update(variables)
    return hosts, {**groups, "monitoring": list(monitoring)}

"""Mistakes of what concerns metrics."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.check import inventory_errors

from unit.plugins.inventory.inventories import WATCHED, Inventory, roles, watched


def errors(inventory: Inventory) -> list[str]:
    return inventory_errors(*inventory, roles(WATCHED))


def test_a_machine_of_its_own_and_one_of_the_fleet_s_may_collect_metrics() -> None:
    assert errors(watched("watch")) == []
    assert errors(watched("lb")) == []
    beside = {"ansible_host": "192.0.2.1"}
    assert errors(watched("watch", watch=beside, n1=beside)) == []


def test_more_than_one_monitoring_host() -> None:
    assert errors(watched("watch", "n1")) == [
        "monitoring: the group has 2 hosts (watch, n1): leave one in the group"
    ]


def test_a_monitoring_host_whose_address_is_not_known() -> None:
    (found,) = errors(watched("watch", watch={"ansible_host": "no-such-host.invalid"}))
    assert found.startswith(
        "watch: ansible_host is 'no-such-host.invalid': the controller can't resolve this name"
    )
    assert errors(watched(watch={"ansible_host": "no-such-host.invalid"})) == [], "it is no host of the fleet"


@pytest.mark.parametrize(
    ("host", "variable", "port", "rival"),
    [
        ("n1", "model_endpoint_port", 9100, "node_exporter_port of n1"),
        ("lb", "nginx_lb_port", 9101, "nginx_lb_metrics_port of lb"),
        ("lb", "nginx_lb_status_port", 9100, "node_exporter_port of lb"),
    ],
)
def test_a_port_that_metrics_have(host: str, variable: str, port: int, rival: str) -> None:
    (found,) = errors(watched("watch", **{host: {variable: port}}))
    assert found.startswith(f"{host}: {variable} is {port}: {rival} uses port {port} of the same machine")
    assert errors(watched(**{host: {variable: port}})) == [], (
        "nothing tells metrics without a monitoring host"
    )


def test_prometheus_and_alertmanager_on_one_port() -> None:
    (found,) = errors(watched("watch", watch={"monitoring_alertmanager_port": 9090}))
    assert "monitoring_alertmanager_port of watch uses port 9090 of the same machine" in found


def test_a_port_of_exporters_that_is_not_the_whole_fleet_s() -> None:
    (found,) = errors(watched("watch", n1={"node_exporter_port": 9200}))
    assert found == "n1 (9200): node_exporter_port is not the same on all hosts: set it for the group all"
    everywhere = {name: {"node_exporter_port": 9200} for name in ("lb", "n1", "n2", "n3", "watch")}
    assert errors(watched("watch", **everywhere)) == []


@pytest.mark.parametrize(
    ("variable", "value", "fix"),
    [
        ("monitoring_retention_size", "10", "set a size, such as 500MB or 10GB"),
        ("monitoring_retention_size", "10gb", "set a size, such as 500MB or 10GB"),
        ("monitoring_retention_days", 0, "set a whole number of at least 1"),
        (
            "monitoring_outside",
            ["192.0.2.60", "2001:db8::1"],
            "'2001:db8::1' is no IPv4 address: write one, such as 192.0.2.60",
        ),
        ("monitoring_prometheus_port", 70000, "set a port from 1 to 65535"),
    ],
)
def test_a_value_that_prometheus_would_not_take(variable: str, value: object, fix: str) -> None:
    (found,) = errors(watched("watch", watch={variable: value}))
    assert found == f"watch: {variable} is {value!r}: {fix}"

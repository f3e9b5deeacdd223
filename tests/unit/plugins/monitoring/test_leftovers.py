"""Where something still collects or tells metrics that should not."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.leftovers import unmonitored_hosts

import small_fleet
from watched_fleet import GROUPS, HOSTVARS


def running(hostvars: dict[str, dict[str, Any]], **roles: list[str]) -> dict[str, dict[str, Any]]:
    """Return the variables of hosts whose machines have containers of these roles."""
    return {
        name: {
            **variables,
            "flotilla_machine": {
                "containers": {role: {"labels": {"flotilla.role": role}} for role in roles.get(name, [])}
            },
        }
        for name, variables in hostvars.items()
    }


def test_what_runs_where_it_is_wanted_stays() -> None:
    found = running(HOSTVARS, watch=["prometheus", "alertmanager", "node_exporter"], node1=["node_exporter"])
    assert unmonitored_hosts(found, GROUPS, ["lb1", "node1", "watch"]) == []


def test_a_monitoring_host_that_has_moved_leaves_its_old_machine() -> None:
    found = running(HOSTVARS, node1=["prometheus", "node_exporter"], node2=["node_exporter"], watch=[])
    assert unmonitored_hosts(found, GROUPS, ["node1", "node2", "watch"]) == ["node1"]


def test_without_a_monitoring_host_nothing_tells_metrics() -> None:
    found = running(HOSTVARS, node1=["node_exporter"], node2=["endpoint"])
    assert unmonitored_hosts(found, small_fleet.GROUPS, ["node1", "node2"]) == ["node1"]


def test_hosts_of_one_machine_are_looked_at_once_and_an_unreached_one_not_at_all() -> None:
    hostvars = {**HOSTVARS, "node2": HOSTVARS["node1"], "lb2": {"ansible_host": "10.0.0.2"}}
    found = running(hostvars, node1=["node_exporter"], node2=["node_exporter"])
    del found["lb2"]["flotilla_machine"]
    assert unmonitored_hosts(found, small_fleet.GROUPS, ["lb2", "node1", "node2"]) == ["node1"]

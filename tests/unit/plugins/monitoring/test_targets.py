"""What Prometheus collects metrics from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import File
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.targets import FOLDER, target_files

from watched_fleet import GROUPS, HOSTVARS, candidate, entry, state


def targets(files: list[File]) -> dict[str, list[dict[str, Any]]]:
    """Return what the files say, by the job."""
    assert all(file["path"].startswith(f"{FOLDER}/") for file in files)
    return {
        file["path"].rpartition("/")[2].removesuffix(".json"): json.loads(file["content"]) for file in files
    }


def by_instance(entries: list[dict[str, Any]], *labels: str) -> dict[str, tuple[str, ...]]:
    """Return the address of each target with these labels of it, by its instance."""
    return {
        found["labels"]["instance"]: (found["targets"][0], *(found["labels"][name] for name in labels))
        for found in entries
    }


def endpoints(wanted: Any, **arguments: Any) -> dict[str, tuple[str, ...]]:
    found = targets(target_files(HOSTVARS, GROUPS, wanted, **arguments))["endpoints"]
    return by_instance(found, "release", "live", "state")


def test_each_job_has_its_targets() -> None:
    found = targets(target_files(HOSTVARS, GROUPS, state(), "10.0.0.1:5000"))
    assert found["endpoints"][0] == {
        "targets": ["10.0.0.1:9101"],
        "labels": {
            "__metrics_path__": "/endpoints/node1/blue/metrics",
            "instance": "node1-blue",
            "endpoint": "node1",
            "slot": "blue",
            "release": "r1",
            "live": "yes",
            "state": "up",
            "machine": "node1",
            "through": "lb1",
        },
    }
    assert by_instance(found["load_balancers"], "load_balancer", "machine") == {
        "lb1": ("10.0.0.1:9101", "lb1", "lb1"),
        "lb2": ("10.1.0.2:9101", "lb2", "lb2"),
    }
    assert by_instance(found["machines"], "machine") == {
        "lb1": ("10.0.0.1:9100", "lb1"),
        "lb2": ("10.0.0.2:9100", "lb2"),
        "node1": ("10.0.0.11:9100", "node1"),
        "node2": ("10.0.0.12:9100", "node2"),
        "watch": ("10.0.0.50:9100", "watch"),
    }
    assert by_instance(found["registry"]) == {"lb1": ("10.0.0.1:5000",)}


def test_endpoints_are_spread_over_load_balancers_or_asked_at_the_virtual_address() -> None:
    assert [found[0] for found in endpoints(state()).values()] == ["10.0.0.1:9101", "10.1.0.2:9101"]
    one = {name: {**HOSTVARS[name], "virtual_address_ip": "10.0.0.100/24"} for name in ("lb1", "lb2")}
    found = targets(target_files({**HOSTVARS, **one}, GROUPS, state()))["endpoints"]
    assert by_instance(found, "through") == {
        "node1-blue": ("10.0.0.100:9101", "virtual address"),
        "node2-blue": ("10.0.0.100:9101", "virtual address"),
    }


def test_both_slots_are_collected_while_a_candidate_is_beside_the_live_release() -> None:
    wanted = state(candidate=candidate("r2", ["node2"]))
    assert {name: found[1:] for name, found in endpoints(wanted).items()} == {
        "node1-blue": ("r1", "yes", "up"),
        "node2-blue": ("r1", "yes", "up"),
        "node2-green": ("r2", "no", "up"),
    }
    flipped = state(live_slot="green")
    assert endpoints(flipped).keys() == {"node1-green", "node2-green"}


def test_a_drained_node_and_one_that_is_down_stay_and_say_so() -> None:
    wanted = state(drained=["node1"], nodes={"node1": entry(), "node2": entry("down")})
    assert {name: found[3] for name, found in endpoints(wanted).items()} == {
        "node1-blue": "drained",
        "node2-blue": "down",
    }


def test_a_node_is_collected_once_it_is_in_the_state_and_until_it_is_removed() -> None:
    assert endpoints(state(nodes={"node1": entry()})).keys() == {"node1-blue"}
    groups = {**GROUPS, "model_nodes": ["node1"]}
    left = targets(target_files(HOSTVARS, groups, state()))
    assert by_instance(left["endpoints"]).keys() == {"node1-blue"}
    assert "node2" not in by_instance(left["machines"])
    removed = targets(target_files(HOSTVARS, GROUPS, state(), removed="node2"))
    assert removed == left, "its line may still be there"


def test_hosts_of_one_machine_are_one_machine_by_the_first_of_their_names() -> None:
    hostvars = {**HOSTVARS, "watch": {"ansible_host": "10.0.0.1"}, "node1": {"ansible_host": "10.0.0.1"}}
    found = targets(target_files(hostvars, GROUPS, state()))
    assert by_instance(found["machines"]).keys() == {"lb1", "lb2", "node2"}
    assert by_instance(found["endpoints"], "machine")["node1-blue"][1] == "lb1"


def test_ports_are_those_of_the_inventory() -> None:
    hostvars = {name: {**variables, "node_exporter_port": "9500"} for name, variables in HOSTVARS.items()}
    hostvars["lb2"]["nginx_lb_metrics_port"] = 9501
    found = targets(target_files(hostvars, GROUPS, state()))
    assert by_instance(found["machines"])["node1"] == ("10.0.0.11:9500",)
    assert by_instance(found["load_balancers"])["lb2"] == ("10.1.0.2:9501",)


@pytest.mark.parametrize("empty", [{"live": None, "nodes": {}}, {"nodes": {}}])
def test_without_a_release_no_endpoint_is_collected_and_without_its_address_no_registry(empty: Any) -> None:
    found = targets(target_files(HOSTVARS, GROUPS, state(**empty)))
    assert found["endpoints"] == []
    assert "registry" not in found

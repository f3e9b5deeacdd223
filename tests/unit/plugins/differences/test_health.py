"""Load balancers look at the endpoints that get requests, of both releases, and at no others."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.health import traffic_slots

from unit.plugins.differences.fleet import GROUPS, LIVE, OLD, STATE, UP, fleet


def looked_at(state: dict[str, Any], hostvars: dict[str, dict[str, Any]]) -> dict[str, list[tuple[str, int]]]:
    slots = traffic_slots(hostvars, GROUPS, state)  # type: ignore[arg-type]
    return {
        slot["release"]: [(endpoint["name"], endpoint["port"]) for endpoint in slot["endpoints"]]
        for slot in slots
    }


def test_drained_nodes_and_nodes_that_are_down_get_no_requests() -> None:
    hostvars = fleet()
    hostvars["cohosted"]["model_endpoint_state"] = "drained"
    assert looked_at(STATE, hostvars) == {LIVE["id"]: [("node1", 5002), ("node2", 5002)]}
    down = {**STATE["nodes"], "node2": {**UP, "status": "down"}}
    assert looked_at({**STATE, "nodes": down}, hostvars) == {LIVE["id"]: [("node1", 5002)]}


def test_a_candidate_s_endpoints_are_looked_at_as_well() -> None:
    candidate = {"release": OLD, "percent": 0, "shadow": 10, "nodes": ["node1", "cohosted"]}
    found = looked_at({**STATE, "candidate": candidate}, fleet())
    assert found == {
        LIVE["id"]: [("node1", 5002), ("cohosted", 5004), ("node2", 5002)],
        OLD["id"]: [("node1", 5001), ("cohosted", 5003)],
    }


def test_before_the_first_release_there_is_nothing_to_look_at() -> None:
    assert looked_at({**STATE, "live": None}, fleet()) == {}

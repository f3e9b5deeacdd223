"""Nodes that are drained, removed, come back, or join by a ramp."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import EMPTY_STATE, numbered
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.traffic import ramp_step
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import (
    next_state,
    ramp_left,
    ramped,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import Operation
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import drained_nodes

from unit.plugins.release.fleet import Fleet


def test_a_drained_node_runs_on_without_traffic_until_it_is_undrained(fleet: Fleet) -> None:
    first = fleet.live
    fleet.run("drain", node="n2")
    assert fleet.state["drained"] == ["n2"]
    assert fleet.servers() == {"blue": {"n1": 100, "n3": 100}}
    second = fleet.ship("image-2", canary_percent=5)
    assert fleet.servers() == {"blue": {"n1": 100, "n3": 100}, "green": {"n1": 100, "n3": 100}}
    assert fleet.runs["n2"] == {"blue": first, "green": second}
    fleet.run("undrain", node="n2")
    assert fleet.servers()["blue"] == {"n1": 100, "n2": 100, "n3": 100}
    assert fleet.state["drained"] == []


def test_drain_twice_and_undrain_of_a_node_that_is_not_drained_change_nothing(fleet: Fleet) -> None:
    fleet.run("drain", node="n2")
    before = copy.deepcopy(fleet.state)
    fleet.run("drain", node="n2")
    fleet.run("undrain", node="n1")
    assert fleet.state == before


def test_the_inventory_drains_too(fleet: Fleet) -> None:
    fleet.hostvars["n1"]["model_endpoint_state"] = "drained"
    assert fleet.run().plan["target"] is None
    assert fleet.servers() == {"blue": {"n2": 100, "n3": 100}}
    assert drained_nodes(fleet.hostvars, fleet.nodes, {**fleet.state, "drained": ["n3"]}) == ["n1", "n3"]


def test_the_last_node_in_the_traffic_is_not_drained(fleet: Fleet) -> None:
    fleet.run("drain", node="n1")
    fleet.run("drain", node="n2")
    before = copy.deepcopy(fleet.state)
    run = fleet.run("drain", node="n3")
    assert not run.gate["passed"]
    assert run.gate["errors"] == [
        "0 of 3 endpoints would take traffic, and release_min_nodes is 1: bring nodes back, or lower it"
    ]
    assert fleet.state == before


def test_a_node_is_removed_dead_or_alive_and_of_a_canary_too(fleet: Fleet) -> None:
    fleet.run("drain", node="n2")
    fleet.ship("image-2", canary_percent=5)
    run = fleet.run("remove", node="n2", unreachable=["n2"])
    assert run.gate["errors"] == []
    assert run.gate["left_out"] == {}
    assert list(fleet.state["nodes"]) == ["n1", "n3"]
    assert fleet.state["drained"] == []
    assert fleet.servers() == {"blue": {"n1": 100, "n3": 100}, "green": {"n1": 100, "n3": 100}}


def test_a_removed_node_whose_line_stays_joins_again(fleet: Fleet) -> None:
    fleet.run("remove", node="n2")
    assert fleet.run().plan["target"] is None
    assert fleet.servers() == {"blue": {"n1": 100, "n2": 25, "n3": 100}}


@pytest.mark.parametrize("operation", ["drain", "undrain", "remove"])
def test_a_node_that_is_none_is_refused(fleet: Fleet, operation: Operation) -> None:
    error = fleet.plan(operation, node="n9")["error"]
    assert error == "node is 'n9', which is no host of model_nodes (n1, n2, n3): -e node=NAME"


def test_a_drain_leaves_a_new_node_and_its_settings_to_the_next_deployment(fleet: Fleet) -> None:
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4", "model_endpoint_workers": 8}
    fleet.run("drain", node="n1")
    assert "n4" not in fleet.state["nodes"]
    assert fleet.run().plan["target"] is None
    assert fleet.state["nodes"]["n4"]["status"] == "up"


def test_a_node_that_comes_back_with_an_old_release_stays_down_until_it_is_staged(fleet: Fleet) -> None:
    first = fleet.live
    second = fleet.ship("image-2", unreachable=["n2"])
    fleet.run(limit=["n1"])  # not about n2, though it is back
    assert fleet.runs["n2"] == {"blue": first}
    assert fleet.servers()["green"]["n2"] == 0
    fleet.run()
    assert fleet.runs["n2"] == {"green": second}  # the old container is stopped
    assert fleet.servers()["green"]["n2"] == 25


def test_a_node_that_comes_back_during_a_canary_serves_the_canary_alone(fleet: Fleet) -> None:
    fleet.ship("image-2", unreachable=["n2"])
    third = fleet.ship("image-3", canary_percent=5)
    assert fleet.runs["n2"] == {"blue": third}  # there is no container of the live release on it
    assert fleet.servers() == {
        "green": {"n1": 100, "n2": 0, "n3": 100},
        "blue": {"n1": 100, "n2": 100, "n3": 100},
    }
    fleet.run("promote")
    assert fleet.up == ["n1", "n2", "n3"]


def test_a_release_that_did_worse_leaves_a_node_that_came_back_down(fleet: Fleet) -> None:
    fleet.ship("image-2", unreachable=["n2"])
    fleet.image = "image-3"
    run = fleet.run()
    assert next_state(run.plan, run.gate, None, fleet.now)["nodes"]["n2"]["status"] == "down"


def test_a_node_that_joins_gets_its_share_in_steps(fleet: Fleet) -> None:
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4", "model_endpoint_weight": 2}
    fleet.run()
    shares = []
    for _ in range(ramp_left(fleet.state)):
        shares.append(fleet.servers()["blue"]["n4"])
        fleet.state = numbered(ramped(fleet.state), fleet.state)
    assert [*shares, fleet.servers()["blue"]["n4"]] == [50, 100, 150, 200]
    assert ramp_left(fleet.state) == 0
    before = copy.deepcopy(fleet.state)
    assert ramped(fleet.state) == before


def test_an_interrupted_ramp_goes_on(fleet: Fleet) -> None:
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4"}
    fleet.run()
    fleet.state = ramped(fleet.state)
    assert fleet.run().state["nodes"]["n4"]["share"] == 50
    assert ramp_left(fleet.state) == 2


def test_a_node_joins_at_once_where_nobody_serves_or_no_ramp_is_wanted(empty: Fleet) -> None:
    empty.run()
    assert ramp_left(empty.state) == 0
    empty.hostvars["n4"] = {"ansible_host": "10.0.0.4"}
    empty.run(ramp_seconds=0)
    assert empty.servers()["blue"]["n4"] == 100
    for entry in empty.state["nodes"].values():
        entry["status"] = "down"
    empty.run()
    assert empty.servers()["blue"] == {"n1": 100, "n2": 100, "n3": 100, "n4": 100}


def test_a_node_that_joins_with_a_release_has_its_whole_share_like_the_others(fleet: Fleet) -> None:
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4"}
    fleet.ship("image-2")
    assert fleet.servers() == {"green": {"n1": 100, "n2": 100, "n3": 100, "n4": 100}}


def test_the_ramp_of_a_node_that_is_down_is_nobody_s_business() -> None:
    down: Any = {"n1": {"status": "down", "share": 25}}
    assert ramp_left({**EMPTY_STATE, "nodes": down}) == 0
    assert ramp_left(EMPTY_STATE) == 0


def test_a_ramp_takes_a_quarter_of_its_time_for_each_step(fleet: Fleet) -> None:
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4"}
    run = fleet.run(ramp_seconds=9)
    step = ramp_step(run.hostvars, run.groups, run.present)
    assert step["seconds"] == 3
    assert step["state"]["nodes"]["n4"]["share"] == 50
    assert step["state"]["serial"] == run.state["serial"] + 1


@pytest.mark.parametrize("image", ["image-1", "image-2", "image-3"])
def test_nodes_that_still_run_something_are_taken_over_once_all_load_balancers_were_lost(
    fleet: Fleet, image: str
) -> None:
    """The first release goes to the blue slots, whatever runs there, and what runs in the green ones stops."""
    fleet.ship("image-2")
    assert fleet.state["live_slot"] == "green"
    fleet.state, fleet.image = copy.deepcopy(EMPTY_STATE), image
    fleet.run()
    assert fleet.state["live_slot"] == "blue"
    assert fleet.state["live"]["image"] == image
    assert fleet.state["previous"] == []
    assert fleet.runs == {node: {"blue": fleet.state["live"]["id"]} for node in fleet.nodes}

"""The gate: which nodes let a release go live, and which are left out."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.gate import (
    gate,
    node_reports,
    unseen_endpoints,
)

from unit.plugins.release.fleet import Fleet


def test_one_node_that_is_not_ready_and_nothing_goes_live(fleet: Fleet) -> None:
    before = copy.deepcopy(fleet.state)
    fleet.image = "image-2"
    run = fleet.run(unready=["n2"])
    assert not run.gate["passed"]
    assert run.gate["errors"] == ["n2: wrong answer\n  Its last log lines:\n    line"]
    assert fleet.state == before
    # The live containers were never touched.
    assert all(slots == {"blue": fleet.live} for slots in fleet.runs.values())


def test_a_node_that_a_load_balancer_can_t_use_and_nothing_goes_live(fleet: Fleet) -> None:
    fleet.image = "image-2"
    run = fleet.run(unseen=["n3"])
    assert run.gate["errors"] == ["n3: lb can't use it: timed out"]
    assert not run.gate["passed"]


def test_a_node_that_can_t_be_reached_is_left_out_of_a_release(fleet: Fleet) -> None:
    second = fleet.ship("image-2", unreachable=["n2"])
    assert fleet.live == second
    assert fleet.servers() == {"green": {"n1": 100, "n2": 0, "n3": 100}}
    entry = fleet.state["nodes"]["n2"]
    assert (entry["status"], entry["reason"], entry["since"]) == ("down", "it can't be reached", fleet.now)
    # It is said each time, and stays down since then.
    run = fleet.run(unreachable=["n2"])
    assert run.gate["left_out"] == {"n2": "it can't be reached"}
    assert fleet.state["nodes"]["n2"] == entry


def test_a_canary_leaves_out_a_node_that_can_t_be_reached(fleet: Fleet) -> None:
    fleet.ship("image-2", unreachable=["n2"], canary_percent=5)
    assert fleet.servers() == {"blue": {"n1": 100, "n2": 0, "n3": 100}, "green": {"n1": 100, "n3": 100}}


def test_too_few_nodes_and_nothing_goes_live(fleet: Fleet) -> None:
    before = copy.deepcopy(fleet.state)
    fleet.image = "image-2"
    run = fleet.run(unreachable=["n2", "n3"], min_nodes=2)
    assert run.gate["errors"] == [
        "1 of 3 endpoints would take traffic, and release_min_nodes is 2: bring nodes back, or lower it"
    ]
    assert fleet.state == before


def test_without_a_release_a_node_that_is_not_right_is_left_out_alone(fleet: Fleet) -> None:
    fleet.runs["n2"].clear()
    run = fleet.run(unready=["n2"])
    assert run.gate["passed"]
    assert run.gate["errors"] == ["n2: wrong answer\n  Its last log lines:\n    line"]
    assert fleet.up == ["n1", "n3"]
    assert fleet.state["nodes"]["n2"]["reason"] == "wrong answer"


def test_a_node_on_which_an_earlier_step_failed_is_an_error_though_it_can_be_reached(fleet: Fleet) -> None:
    fleet.image = "image-2"
    plan = fleet.plan("deploy")
    reports = node_reports(fleet.hostvars, plan, fleet.nodes, ["n1", "n2"], fleet.nodes, ["n3"], {})
    gated = gate(plan, reports, fleet.lb(), fleet.now)
    assert gated["errors"] == ["n3: a step before this one failed on it; its message is above"]
    assert not gated["passed"]


def test_hosts_that_a_limited_run_leaves_out_are_as_they_were(fleet: Fleet) -> None:
    fleet.ship("image-2", unreachable=["n3"])
    before = copy.deepcopy(fleet.state)
    run = fleet.run(limit=["n1"], unreachable=["n2"])
    assert run.gate["left_out"] == {}
    assert fleet.state == before


def probe(**endpoints: Any) -> dict[str, Any]:
    """The facts of a load balancer that has probed these endpoints."""
    return {"nginx_lb_probe": {"endpoints": endpoints}}


def test_what_load_balancers_can_t_use_is_told_by_node_and_load_balancer() -> None:
    right: dict[str, Any] = {"ready": True, "release": "new", "error": ""}
    hostvars: Any = {
        "lb1": probe(n1=right, n2={**right, "release": "old"}),
        "lb2": probe(n1={**right, "ready": False, "error": "timed out"}, n2=right),
        "lb3": probe(n1={**right, "ready": False}),
        "lb4": {"nginx_lb_probe": {}},  # there was nothing to probe
        "lb5": {},
    }
    assert unseen_endpoints(hostvars, ["lb1", "lb2", "lb3", "lb4", "lb5"], "new") == {
        "n1": {"lb2": "timed out", "lb3": "it says that it is not ready"},
        "n2": {"lb1": "it answers as release old, not new"},
    }


def test_a_release_that_fails_its_gate_returns_the_canary_of_the_same_release(fleet: Fleet) -> None:
    fleet.ship("image-2", canary_percent=5)
    run = fleet.run(canary_percent=20, unready=["n1"])
    assert not run.gate["passed"]
    assert fleet.state["candidate"] is None
    assert all(slots == {"blue": fleet.live} for slots in fleet.runs.values())
    assert run.finish()["verdict"]["result"] == "failed"

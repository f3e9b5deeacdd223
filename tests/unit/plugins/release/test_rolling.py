"""A release that replaces one node after another, in a small and a large fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.gate import gate, node_reports
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import gets_traffic
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.traffic import (
    rolling_step,
    undo_step,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import (
    rolling_state,
    upstream_servers,
)

from unit.plugins.release.fleet import Fleet, Run


class Counted(dict[str, Any]):
    """A mapping that counts how often one of its values is read, and how often all of them are."""

    reads = walks = 0

    def __getitem__(self, key: str) -> Any:
        self.reads += 1
        return super().__getitem__(key)

    def items(self) -> Any:
        self.walks += 1
        return super().items()


@pytest.fixture
def large_fleet() -> Fleet:
    """A hundred nodes that run a release."""
    nodes = {f"n{number}": {"ansible_host": f"10.0.0.{number}"} for number in range(100)}
    fleet = Fleet({"lb": {}} | nodes)
    fleet.run()
    return fleet


def test_the_variables_of_a_node_are_read_once(large_fleet: Fleet) -> None:
    nodes, hostvars = large_fleet.nodes, Counted(large_fleet.hostvars)
    large_fleet.image = "image-2"
    large_fleet.run(canary_percent=5.0)
    assert set(upstream_servers(hostvars, nodes, large_fleet.state)) == {"blue", "green"}
    assert hostvars.reads == 100

    node_reports(hostvars, large_fleet.plan("deploy"), nodes, nodes, nodes, [], {})
    assert hostvars.reads == 200


def test_a_rolling_release_does_not_walk_the_nodes_for_each_node(large_fleet: Fleet) -> None:
    large_fleet.image = "image-2"
    plan = large_fleet.plan("deploy", rolling=True)
    nodes = large_fleet.nodes
    entries = plan["baseline"]["nodes"] = Counted(plan["baseline"]["nodes"])
    reports = node_reports(large_fleet.hostvars, plan, nodes, nodes, nodes, [], {})
    gated = gate(plan, reports, large_fleet.lb(), large_fleet.now)
    assert gated["passed"]
    rolling_state(plan, gated, large_fleet.hostvars, nodes[:5], nodes[5], large_fleet.now)
    assert entries.walks < 10  # copies of the state included


@dataclass
class Rolling:
    """A rolling release of `fleet`, as role rolling goes through it."""

    fleet: Fleet
    run: Run

    @property
    def plan(self) -> Any:
        return self.run.plan

    def servers(self, done: Sequence[str], replacing: str = "") -> dict[str, dict[str, int]]:
        self.fleet.state = rolling_step(self.run.hostvars, self.run.present, done, replacing, 7)
        self.run.share(release_state=self.fleet.state)
        return self.fleet.servers()


def roll(
    fleet: Fleet, image: str = "image-2", unreachable: Sequence[str] = (), min_nodes: int = 1
) -> Rolling:
    fleet.image = image
    run = fleet.run(rolling=True, steps=0, unreachable=unreachable, min_nodes=min_nodes)
    assert run.plan["rolling"]
    return Rolling(fleet, run)


def test_a_rolling_release_takes_one_node_after_another(fleet: Fleet) -> None:
    fleet.hostvars["n1"]["model_endpoint_weight"] = 2
    rolling = roll(fleet)
    second = rolling.plan["target"]["id"]
    assert rolling.servers([], "n1") == {"blue": {"n1": 0, "n2": 100, "n3": 100}}
    assert not fleet.state["candidate"]
    assert rolling.servers(["n1"]) == {"blue": {"n1": 0, "n2": 100, "n3": 100}, "green": {"n1": 200}}
    assert fleet.state["candidate"]["percent"] == 50
    assert rolling.servers(["n1"], "n2") == {"blue": {"n1": 0, "n2": 0, "n3": 100}, "green": {"n1": 200}}
    assert fleet.state["candidate"]["percent"] == pytest.approx(200 / 3)
    # With n3 the last one leaves that served the release before, so the other is live.
    assert rolling.servers(["n1", "n2"], "n3") == {"green": {"n1": 200, "n2": 100, "n3": 0}}
    assert fleet.live == second
    assert rolling.servers(["n1", "n2", "n3"]) == {"green": {"n1": 200, "n2": 100, "n3": 100}}
    assert len(fleet.state["previous"]) == 1


def test_the_first_release_does_not_roll(empty: Fleet) -> None:
    assert not empty.plan("deploy", rolling=True)["rolling"]


def test_a_rolling_release_needs_one_node_more_than_the_least(fleet: Fleet) -> None:
    fleet.image = "image-2"
    run = fleet.run(rolling=True, min_nodes=3)
    assert run.gate["errors"] == [
        "2 of 3 endpoints would take traffic, and release_min_nodes is 3: bring nodes back, or lower it"
    ]


def test_a_node_that_joins_does_not_bear_the_traffic_of_one_that_is_replaced(fleet: Fleet) -> None:
    for name in ("n2", "n3"):
        del fleet.hostvars[name]
    fleet.run()
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4"}
    fleet.image = "image-2"
    assert not fleet.run(rolling=True).gate["passed"]


def test_a_rolling_release_ends_with_nodes_that_join_come_back_or_are_drained(fleet: Fleet) -> None:
    fleet.run(unreachable=["n2"])
    fleet.hostvars["n3"]["model_endpoint_state"] = "drained"
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4"}
    fleet.hostvars["n5"] = {"ansible_host": "10.0.0.5"}
    fleet.run(limit=["n5"], ramp_seconds=0)
    rolling = roll(fleet)
    assert rolling.servers([], "n1") == {"blue": {"n1": 0, "n2": 0, "n5": 100}}
    assert rolling.servers(["n1", "n2"], "n3")["green"] == {"n1": 100, "n2": 100}
    # Of those left nobody serves the release before: it is over.
    last = rolling.servers(["n1", "n2", "n3", "n4"], "n5")
    assert last == {"green": {"n1": 100, "n2": 100, "n4": 100, "n5": 0}}
    early = rolling.servers(["n1", "n5"], "n2")
    assert early == {"green": {"n1": 100, "n2": 0, "n4": 0, "n5": 100}}


def test_a_drained_node_that_is_the_first_to_be_replaced_gets_no_traffic(fleet: Fleet) -> None:
    fleet.run("drain", node="n1")
    rolling = roll(fleet)
    assert rolling.servers(["n1"], "n2") == {"blue": {"n2": 0, "n3": 100}}
    assert rolling.servers(["n1", "n2"]) == {"blue": {"n2": 0, "n3": 100}, "green": {"n2": 100}}
    assert fleet.state["candidate"]["percent"] == 50


def test_an_interrupted_rolling_release_goes_on_and_can_still_be_given_back(fleet: Fleet) -> None:
    first = fleet.live
    roll(fleet).servers(["n1"])
    rolling = roll(fleet)
    assert rolling.plan["baseline"]["candidate"]["nodes"] == ["n1"]
    assert rolling.servers(["n1"], "n2") == {"blue": {"n1": 0, "n2": 0, "n3": 100}, "green": {"n1": 100}}
    # n2 was not right: both get back what they had.
    assert rolling.servers(["n1"]) == {"blue": {"n1": 0, "n2": 100, "n3": 100}, "green": {"n1": 100}}
    assert rolling.servers([]) == {"blue": {"n1": 100, "n2": 100, "n3": 100}}
    assert fleet.live == first
    assert fleet.state["candidate"] is None


def test_half_of_a_rolling_release_is_not_undone_but_rolled_back(fleet: Fleet) -> None:
    rolling = roll(fleet)
    rolling.servers(["n1"])
    assert gets_traffic(rolling.plan, fleet.state)
    assert undo_step(rolling.run.hostvars, rolling.run.present, 7) is None
    # What was not rolled back is said to have failed, whatever was tried.
    rolling.run.share(release_failure="n2: no", release_result="returned")
    assert rolling.run.finish()["verdict"]["result"] == "failed"
    rolling.servers([])
    assert rolling.run.finish()["verdict"]["result"] == "returned"

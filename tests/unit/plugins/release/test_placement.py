"""Which container a node lacks, which slot is retired, and which hosts take part in a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.placement import (
    missing_container,
    retired_slots,
    step_hosts,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import Plan

from unit.plugins.release.fleet import Fleet


def test_nothing_is_to_be_run_where_the_live_release_runs(fleet: Fleet) -> None:
    plan = fleet.plan("deploy")
    assert missing_container(plan, fleet.hostvars, "n1", fleet.machine("n1")) is None


@pytest.mark.parametrize("machine", [None, {}, {"containers": {}}])
def test_a_node_without_its_container_gets_the_live_release(fleet: Fleet, machine: Any) -> None:
    plan = fleet.plan("deploy")
    assert missing_container(plan, fleet.hostvars, "n1", machine) == {
        "release": fleet.state["live"],
        "slot": "blue",
    }


@pytest.mark.parametrize("difference", [{"running": False}, {"labels": {"flotilla.release": "another"}}])
def test_a_stopped_container_and_one_of_another_release_are_missing(
    fleet: Fleet, difference: dict[str, Any]
) -> None:
    machine = fleet.machine("n1")
    machine["containers"]["flotilla-n1-blue"].update(difference)
    assert missing_container(fleet.plan("deploy"), fleet.hostvars, "n1", machine) is not None


def runs(node: str, *slots: str) -> Any:
    containers = {f"flotilla-{node}-{slot}": {"running": slot in slots} for slot in ("blue", "green")}
    return {"n1": {"flotilla_machine": {"containers": containers}}}


def test_the_slot_that_is_not_live_is_retired_unless_a_canary_is_in_it(fleet: Fleet) -> None:
    plan = fleet.plan("deploy")
    both = runs("n1", "blue", "green")
    assert retired_slots(plan, fleet.state, both, ["n1"]) == {"n1": "green"}
    assert retired_slots(plan, fleet.state, both, []) == {}
    assert retired_slots(plan, fleet.state, runs("n1", "blue"), ["n1"]) == {}
    assert retired_slots(plan, fleet.state, runs("n2", "blue", "green"), ["n1"]) == {}
    withdrawn: Any = {**fleet.state, "candidate": {}}
    assert retired_slots(plan, withdrawn, both, ["n1"]) == {"n1": "green"}
    fleet.ship("image-2", canary_percent=5)
    assert retired_slots(plan, fleet.state, both, ["n1"]) == {}


def test_what_a_release_that_did_not_stay_live_was_staged_in_is_retired(fleet: Fleet) -> None:
    fleet.image = "image-2"
    plan = fleet.plan("deploy")
    # The machine was looked at before anything was staged on it.
    assert retired_slots(plan, fleet.state, fleet.seen(), ["n1"]) == {"n1": "green"}


def groups_of(fleet: Fleet, plan: Plan, present: Sequence[str]) -> dict[str, list[str]]:
    hosts = step_hosts(plan, fleet.seen(), fleet.nodes, present)
    return {entry["host"]: entry["groups"] for entry in hosts}


def test_a_run_with_nothing_to_do_is_about_nobody(fleet: Fleet) -> None:
    assert groups_of(fleet, fleet.plan("deploy"), ["lb", *fleet.nodes]) == {}


def test_a_release_is_about_every_host_that_is_there(fleet: Fleet) -> None:
    fleet.image = "image-2"
    assert groups_of(fleet, fleet.plan("deploy"), ["lb", "n1", "n3"]) == {
        "lb": ["flotilla_release"],
        "n1": ["flotilla_release", "flotilla_stage"],
        "n3": ["flotilla_release", "flotilla_stage"],
    }


def test_a_node_that_has_lost_its_container_is_staged_alone(fleet: Fleet) -> None:
    del fleet.runs["n2"]
    assert groups_of(fleet, fleet.plan("deploy"), ["lb", *fleet.nodes]) == {"n2": ["flotilla_stage"]}


def test_the_keepers_of_certificates_are_a_group_if_they_are_there(fleet: Fleet) -> None:
    plan = fleet.plan("deploy")
    hosts = step_hosts(plan, fleet.seen(), fleet.nodes, ["lb", *fleet.nodes], ["lb", "lb2"])
    assert hosts == [{"host": "lb", "groups": ["flotilla_acme"]}]


def test_a_node_that_is_removed_leaves_if_it_is_there(fleet: Fleet) -> None:
    plan = fleet.plan("remove", node="n2")
    assert groups_of(fleet, plan, ["lb", *fleet.nodes]) == {"n2": ["flotilla_leave"]}
    assert groups_of(fleet, plan, ["lb", "n1", "n3"]) == {}

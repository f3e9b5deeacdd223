"""The life of a release: what each run plans, whom it lets through, and who gets the traffic after it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import (
    RECIPE_FILES,
    container_recipe,
    new_release,
    release_settings,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.gate import (
    gate,
    node_reports,
    unseen_endpoints,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.outcome import outcome
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.placement import (
    missing_container,
    retired_slots,
    step_hosts,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import (
    EMPTY_STATE,
    KEEP_RELEASES,
    STATE_FORMAT,
    NewerStateError,
    gets_traffic,
    kept_releases,
    latest_state,
    numbered,
    unneeded_images,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.commit import commit_step
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import (
    found_state,
    present_balancers,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.plan import baseline_step
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.traffic import (
    apply_errors,
    ramp_step,
    rolling_step,
    rotate_step,
    sync_step,
    undo_step,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.watch import judge_step
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import (
    next_state,
    ramp_left,
    ramped,
    rolling_state,
    upstream_servers,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import Operation, Plan, State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Option, settings_of
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import drained_nodes, endpoint_address

from release_fleet import Fleet, Run

ROLES = Path(__file__).parents[3] / "roles"


def written(state: State) -> dict[str, Any]:
    """The state as a load balancer keeps it."""
    return {**state, "version": "v1"}


@pytest.fixture
def empty() -> Fleet:
    return Fleet()


@pytest.fixture
def fleet(empty: Fleet) -> Fleet:
    """A fleet with its first release live on all three nodes."""
    empty.run()
    return empty


# What is a release, and what is none.


def test_the_first_release_goes_live_in_the_blue_slots_at_once(empty: Fleet) -> None:
    run = empty.run(canary_percent=5)
    assert run.plan["first"]
    assert run.plan["target_slot"] == "blue"
    assert run.steps == [(100, 0)]
    assert empty.live == empty.wanted()["id"]
    assert empty.state["previous"] == []
    assert empty.state["serial"] == 1
    assert empty.servers() == {"blue": {"n1": 100, "n2": 100, "n3": 100}}


def test_the_same_content_again_changes_nothing(fleet: Fleet) -> None:
    before = copy.deepcopy(fleet.state)
    run = fleet.run()
    assert run.plan["target"] is None
    assert run.plan["note"] == ""
    assert fleet.state == before


def test_nothing_is_to_be_run_where_the_live_release_runs(fleet: Fleet) -> None:
    plan = fleet.plan("deploy")
    assert missing_container(plan, "n1", fleet.machine("n1")) is None


@pytest.mark.parametrize("machine", [None, {}, {"containers": {}}])
def test_a_node_without_its_container_gets_the_live_release(fleet: Fleet, machine: Any) -> None:
    plan = fleet.plan("deploy")
    assert missing_container(plan, "n1", machine) == {"release": fleet.state["live"], "slot": "blue"}


@pytest.mark.parametrize("difference", [{"running": False}, {"labels": {"flotilla.release": "another"}}])
def test_a_stopped_container_and_one_of_another_release_are_missing(
    fleet: Fleet, difference: dict[str, Any]
) -> None:
    machine = fleet.machine("n1")
    machine["containers"]["flotilla-n1-blue"].update(difference)
    assert missing_container(fleet.plan("deploy"), "n1", machine) is not None


def test_a_changed_weight_is_no_release(fleet: Fleet) -> None:
    fleet.hostvars["n2"]["model_endpoint_weight"] = "3"
    assert fleet.run().plan["target"] is None
    assert fleet.servers() == {"blue": {"n1": 100, "n2": 300, "n3": 100}}


@pytest.mark.parametrize("own", [{}, {"model_endpoint_memory": "2g", "model_endpoint_workers": 8}], ids=str)
def test_a_node_that_joins_is_no_release_whatever_its_settings(fleet: Fleet, own: dict[str, Any]) -> None:
    first = fleet.live
    fleet.hostvars["n4"] = own
    run = fleet.run()
    assert run.plan["target"] is None
    assert fleet.live == first
    assert fleet.runs["n4"] == {"blue": first}
    kept = release_settings(fleet.state["live"], "n4")
    assert kept["memory"] == own.get("model_endpoint_memory", "512m")
    assert kept["workers"] == own.get("model_endpoint_workers", 2)
    # It is part of the release from now on.
    assert fleet.run().plan["target"] is None
    fleet.hostvars["n4"]["model_endpoint_memory"] = "4g"
    assert fleet.run().plan["target"] is not None


def test_a_node_that_most_nodes_now_differ_from_is_no_release(fleet: Fleet) -> None:
    for name in ("n4", "n5", "n6", "n7"):  # what is common to most is now theirs
        fleet.hostvars[name] = {"model_endpoint_workers": 8}
    assert fleet.run().plan["target"] is None
    assert release_settings(fleet.state["live"], "n1")["workers"] == 2
    assert release_settings(fleet.state["live"], "n7")["workers"] == 8


@pytest.mark.parametrize("own", [{}, {"model_endpoint_memory": "2g", "model_endpoint_workers": 8}], ids=str)
def test_a_node_that_leaves_the_inventory_is_no_release(empty: Fleet, own: dict[str, Any]) -> None:
    fleet = empty
    fleet.hostvars["n2"].update(own)
    fleet.run()
    del fleet.hostvars["n2"]
    run = fleet.run()
    assert run.plan["target"] is None
    assert list(fleet.state["nodes"]) == ["n1", "n3"]


@pytest.mark.parametrize(
    "change",
    [
        {"model_endpoint_workers": 3},
        {"model_endpoint_memory": "1g"},
        {"model_endpoint_cpus": "2.0"},
        {"model_endpoint_fast_path": "no"},
    ],
    ids=str,
)
def test_a_changed_setting_of_one_node_s_container_is_a_release(
    fleet: Fleet, change: dict[str, object]
) -> None:
    first = fleet.live
    fleet.hostvars["n3"].update(change)
    run = fleet.run()
    assert fleet.live != first
    assert run.plan["target_slot"] == fleet.state["live_slot"] == "green"
    assert [entry["id"] for entry in fleet.state["previous"]] == [first]


def test_a_value_spelt_as_text_or_equal_to_the_default_is_no_change(fleet: Fleet) -> None:
    fleet.hostvars["n1"].update(
        model_endpoint_workers="2", model_endpoint_cpus=1, model_endpoint_fast_path="Yes"
    )
    assert fleet.run().plan["target"] is None


def test_a_changed_image_and_a_changed_recipe_are_releases(fleet: Fleet) -> None:
    first = fleet.live
    fleet.recipe = "other"
    fleet.run()
    second = fleet.live
    third = fleet.ship("image-2")
    assert len({first, second, third}) == 3
    assert fleet.live == third
    assert fleet.state["live_slot"] == "blue"


def test_a_release_is_its_content_whatever_the_order_and_time() -> None:
    settings = {"n1": {"workers": 2}, "n2": {"workers": 2}, "n3": {"workers": 4}}
    one = new_release("image", settings, 1)
    assert one["settings"] == {"common": {"workers": 2}, "nodes": {"n3": {"workers": 4}}}
    assert new_release("image", dict(reversed(settings.items())), 2)["id"] == one["id"]
    assert new_release("other", settings, 1)["id"] != one["id"]


def test_settings_are_the_inventory_s_or_the_spec_s_in_the_spec_s_type() -> None:
    specs: dict[str, dict[str, Option]] = {
        "box": {
            "box_n": {"type": "int", "default": 1},
            "box_x": {"type": "float"},
            "box_on": {"type": "bool", "default": False},
            "box_name": {"type": "str", "default": "b"},
        }
    }
    given = {"h": {"box_n": "7", "box_on": "yes", "other": 1}}
    assert settings_of(given, "h", "box", specs) == {"n": 7, "x": None, "on": True, "name": "b"}


# A run limited to some hosts.


def test_a_limited_run_releases_nothing_and_says_so(fleet: Fleet) -> None:
    first = fleet.live
    fleet.image = "image-2"
    run = fleet.run(limit=["n1"])
    assert run.plan["target"] is None
    assert fleet.live == first
    assert run.plan["note"] == (
        f"this checkout would release {fleet.wanted()['id']}, but a release needs every host: "
        f"{first} stays live until site.yml runs without --limit"
    )


def test_a_limited_run_of_an_empty_fleet_says_that_nothing_is_live(empty: Fleet) -> None:
    plan = empty.plan("deploy", ["n1"])
    assert plan["target"] is None
    assert plan["note"].startswith("nothing is live yet")
    assert missing_container(plan, "n1", None) is None


def test_a_limited_run_adds_a_node_to_the_release_that_is_live(fleet: Fleet) -> None:
    fleet.image = "image-2"
    fleet.hostvars["n4"] = {}
    fleet.run(limit=["n4"])
    assert fleet.runs["n4"] == {"blue": fleet.live}
    assert fleet.up == ["n1", "n2", "n3", "n4"]


def test_a_limited_run_leaves_a_canary_alone(fleet: Fleet) -> None:
    fleet.ship("image-2", canary_percent=20)
    candidate = fleet.state["candidate"]
    fleet.image = "image-1"
    fleet.run(limit=["n1"])
    assert fleet.state["candidate"] == candidate


@pytest.mark.parametrize("operation", ["rollback", "promote"])
def test_a_limited_run_neither_rolls_back_nor_promotes(fleet: Fleet, operation: Operation) -> None:
    fleet.ship("image-2")
    if operation == "promote":
        fleet.ship("image-3", canary_percent=5)
    plan = fleet.plan(operation, ["n1"])
    assert plan["target"] is None
    assert plan["error"] == (
        f"to {operation} a release needs every host: run playbooks/{operation}.yml without --limit"
    )


def test_a_limited_run_does_not_withdraw_a_canary(fleet: Fleet) -> None:
    fleet.ship("image-2", canary_percent=5)
    plan = fleet.plan("rollback", ["n1"])
    assert plan["error"].startswith("to rollback a release needs every host")
    assert plan["baseline"] == fleet.state


# Load balancers that are away.


def test_nothing_goes_live_while_a_load_balancer_is_away(fleet: Fleet) -> None:
    fleet.image = "image-2"
    plan = fleet.plan("deploy", away=["lb2"])
    assert plan["error"].startswith("lb2 can't be reached, and a load balancer that misses a release")
    assert plan["target"] is None
    assert plan["baseline"] == plan["state"]


def test_without_a_release_a_load_balancer_may_be_away(fleet: Fleet) -> None:
    assert fleet.plan("deploy", away=["lb2"])["error"] == ""


@pytest.mark.parametrize("operation", ["drain", "undrain", "remove"])
def test_nodes_are_drained_and_removed_while_a_load_balancer_is_away(
    fleet: Fleet, operation: Operation
) -> None:
    fleet.run(operation, node="n2", away=["lb2"])
    assert ("n2" in fleet.servers()["blue"]) == (operation == "undrain")


def test_certificates_are_replaced_without_a_change_of_the_traffic_and_on_every_host_or_none(
    fleet: Fleet,
) -> None:
    fleet.run("deploy")
    plan = fleet.plan("rotate")
    assert (plan["error"], plan["target"]) == ("", None)
    assert plan["baseline"] == plan["state"]
    assert "without --limit" in fleet.plan("rotate", ["n1"])["error"]


def test_a_canary_is_withdrawn_but_not_promoted_while_a_load_balancer_is_away(fleet: Fleet) -> None:
    fleet.ship("image-2", canary_percent=5)
    assert fleet.plan("promote", away=["lb2"])["error"].startswith("lb2 can't be reached")
    fleet.run("rollback", away=["lb2"])
    assert fleet.state["candidate"] is None
    fleet.ship("image-2")
    assert fleet.plan("rollback", away=["lb2"])["error"].startswith("lb2 can't be reached")


def test_nothing_is_done_without_any_load_balancer(fleet: Fleet) -> None:
    error = fleet.plan("drain", node="n1", away=["lb"])["error"]
    assert error == "no load balancer can be reached (lb), so nothing can go live: bring one back"


def test_the_state_written_last_is_the_truth_where_a_load_balancer_was_away(fleet: Fleet) -> None:
    old = copy.deepcopy(fleet.state)
    fleet.ship("image-2")
    assert latest_state({"lb1": written(old), "lb2": written(fleet.state)}) == fleet.state
    assert latest_state({"lb1": written(fleet.state), "lb2": None, "lb3": written(old)}) == fleet.state


def test_a_load_balancer_without_a_state_is_asked_for_nothing() -> None:
    found = latest_state({"lb1": None, "lb2": None})
    assert found == EMPTY_STATE
    found["drained"].append("n1")
    assert latest_state({}) == EMPTY_STATE  # what was returned is nobody else's


def test_the_serial_rises_only_with_a_change(fleet: Fleet) -> None:
    same: Any = {**fleet.state, "serial": 0}
    drained: Any = {**same, "drained": ["n1"]}
    assert numbered(same, fleet.state)["serial"] == fleet.state["serial"]
    assert numbered(drained, fleet.state)["serial"] == fleet.state["serial"] + 1


# A canary.


def test_a_canary_gets_its_share_and_the_release_before_the_rest(fleet: Fleet) -> None:
    first = fleet.live
    second = fleet.ship("image-2", canary_percent=20, bake_seconds=30)
    assert fleet.live == first
    assert fleet.state["live_slot"] == "blue"
    candidate = fleet.state["candidate"]
    assert (candidate["release"]["id"], candidate["percent"], candidate["shadow"]) == (second, 20, 0)
    assert fleet.servers() == {
        "blue": {"n1": 100, "n2": 100, "n3": 100},
        "green": {"n1": 100, "n2": 100, "n3": 100},
    }
    assert fleet.runs["n1"] == {"blue": first, "green": second}


def test_a_canary_stays_until_the_variable_is_gone(fleet: Fleet) -> None:
    second = fleet.ship("image-2", canary_percent=20)
    before = copy.deepcopy(fleet.state)
    assert fleet.run(canary_percent=20).plan["target"]["id"] == second
    assert fleet.state == before
    fleet.run(canary_percent=40)
    assert fleet.state["candidate"]["percent"] == 40
    fleet.run()
    assert fleet.live == second
    assert fleet.state["candidate"] is None


def test_a_shadow_takes_no_traffic_of_its_own(fleet: Fleet) -> None:
    fleet.image = "image-2"
    assert fleet.run(shadow_percent=10).steps == [(0, 0)]
    candidate = fleet.state["candidate"]
    assert (candidate["percent"], candidate["shadow"]) == (0, 10)
    fleet.run(shadow_percent=10, canary_percent=5)
    candidate = fleet.state["candidate"]
    assert (candidate["percent"], candidate["shadow"]) == (5, 10)


STEPS = [{"percent": 5, "bake": 10}, {"percent": "25", "bake": "20"}, {"percent": 100, "bake": 30}]


def test_canary_steps_take_over_by_themselves(fleet: Fleet) -> None:
    fleet.image = "image-2"
    assert fleet.run(canary_steps=STEPS).steps == [(5, 10), (25, 20), (100, 30)]
    assert fleet.live == fleet.wanted()["id"]
    assert fleet.state["candidate"] is None


def test_an_interrupted_release_goes_on_where_it_stopped(fleet: Fleet) -> None:
    first = fleet.live
    fleet.image = "image-2"
    fleet.run(canary_steps=STEPS, steps=2)
    assert fleet.live == first
    assert fleet.state["candidate"]["percent"] == 25
    run = fleet.run(canary_steps=STEPS)
    assert run.plan["note"] == ""
    assert run.steps == [(25, 20), (100, 30)]
    assert fleet.live == fleet.wanted()["id"]


def test_steps_that_end_below_100_stop_at_the_last(fleet: Fleet) -> None:
    fleet.image = "image-2"
    fleet.run(canary_steps=STEPS[:2])
    assert fleet.run(canary_steps=STEPS[:2]).steps == [(25, 20)]
    assert fleet.run(canary_steps=STEPS[:1]).steps == [(5, 10)]


def test_a_canary_is_withdrawn_when_the_checkout_goes_back(fleet: Fleet) -> None:
    first = fleet.live
    second = fleet.ship("image-2", canary_percent=20)
    fleet.image = "image-1"
    run = fleet.run(canary_percent=20)
    assert run.plan["note"] == f"the canary {second} is withdrawn"
    assert run.plan["target"] is None
    assert fleet.live == first
    assert fleet.state["candidate"] is None
    assert fleet.servers() == {"blue": {"n1": 100, "n2": 100, "n3": 100}}
    assert fleet.runs["n1"] == {"blue": first}


def test_another_release_takes_a_canary_s_place(fleet: Fleet) -> None:
    second = fleet.ship("image-2", canary_percent=20)
    fleet.image = "image-3"
    run = fleet.run(canary_percent=5)
    # It is out of the traffic before its containers are replaced.
    assert run.plan["baseline"]["candidate"] is None
    assert run.plan["note"] == f"the canary {second} is withdrawn"
    assert run.plan["target_slot"] == "green"
    assert fleet.state["candidate"]["release"]["id"] == fleet.wanted()["id"]
    assert fleet.state["previous"] == []


def test_a_node_that_joins_during_a_canary_is_of_it_alone_with_its_own_settings(fleet: Fleet) -> None:
    second = fleet.ship("image-2", canary_percent=20)
    fleet.hostvars["n4"] = {"model_endpoint_workers": 8}
    run = fleet.run(canary_percent=20)
    assert run.plan["target"]["id"] == second
    assert fleet.servers() == {
        "blue": {"n1": 100, "n2": 100, "n3": 100},
        "green": {"n1": 100, "n2": 100, "n3": 100, "n4": 100},
    }
    assert release_settings(run.plan["target"], "n4")["workers"] == 8
    fleet.run("promote")
    assert fleet.live == second
    assert fleet.up == ["n1", "n2", "n3", "n4"]
    assert fleet.run().plan["target"] is None


def test_promote_gives_a_canary_all_the_traffic(fleet: Fleet) -> None:
    first = fleet.live
    second = fleet.ship("image-2", canary_percent=20)
    run = fleet.run("promote", bake_seconds=30, canary_percent=20)
    assert run.steps == [(100, 30)]
    assert run.plan["shadow"] == 0
    assert fleet.live == second
    assert [entry["id"] for entry in fleet.state["previous"]] == [first]
    assert fleet.runs["n1"] == {"green": second}


def test_promote_gives_a_shadow_all_the_traffic(fleet: Fleet) -> None:
    second = fleet.ship("image-2", shadow_percent=10)
    fleet.run("promote", shadow_percent=10)
    assert fleet.live == second
    assert fleet.state["candidate"] is None


def test_promote_without_a_canary_is_refused(fleet: Fleet) -> None:
    error = fleet.plan("promote")["error"]
    assert error == "there is no release to promote: no canary and no shadow is under way"


def test_a_release_that_did_worse_gets_no_more_traffic(fleet: Fleet) -> None:
    before = copy.deepcopy(fleet.state)
    run = Fleet(state=before, runs=copy.deepcopy(fleet.runs), image="image-2").run()
    returned = numbered(next_state(run.plan, run.gate, None, fleet.now), run.state)
    assert {**returned, "serial": 0} == {**fleet.state, "serial": 0}
    assert returned["serial"] == run.state["serial"] + 1


# The way back.


def test_rollback_goes_back_by_one_at_once(fleet: Fleet) -> None:
    first = fleet.live
    second = fleet.ship("image-2")
    run = fleet.run("rollback", bake_seconds=30, canary_percent=5)
    assert run.steps == [(100, 0)]
    assert fleet.live == first
    assert [entry["id"] for entry in fleet.state["previous"]] == [second]
    assert fleet.state["live"]["reference"] == "registry/image-1"


def test_rollback_withdraws_a_canary_first(fleet: Fleet) -> None:
    fleet.ship("image-2")
    live = fleet.live
    canary = fleet.ship("image-3", canary_percent=5)
    run = fleet.run("rollback")
    assert run.plan["note"] == f"the canary {canary} is withdrawn"
    assert fleet.live == live
    assert fleet.state["candidate"] is None


def test_rollback_to_a_release_by_its_id(fleet: Fleet) -> None:
    first = fleet.live
    second = fleet.ship("image-2")
    third = fleet.ship("image-3")
    fleet.run("rollback", release=first)
    assert fleet.live == first
    assert [entry["id"] for entry in fleet.state["previous"]] == [third, second]


def test_rollback_by_id_takes_a_canary_s_place(fleet: Fleet) -> None:
    first = fleet.live
    fleet.ship("image-2")
    fleet.ship("image-3", canary_percent=5)
    run = fleet.run("rollback", release=first)
    assert run.plan["baseline"]["candidate"] is None
    assert fleet.live == first


def test_rollback_to_an_unknown_release_names_those_there_are(fleet: Fleet) -> None:
    first = fleet.live
    second = fleet.ship("image-2")
    assert fleet.plan("rollback", release="nope")["error"] == (
        f"release is 'nope', which is not among those kept ({first}): choose one of them, or leave it out to go "
        "back by one"
    )
    assert fleet.plan("rollback", release=second)["error"] == f"release {second} is live already"


def test_rollback_of_the_first_release_is_refused(fleet: Fleet, empty: Fleet) -> None:
    error = fleet.plan("rollback")["error"]
    assert error == "there is no release to go back to: the one that is live is the first"
    assert "there is none" in Fleet().plan("rollback", release="nope")["error"]


def test_five_releases_are_kept(fleet: Fleet) -> None:
    ids = [fleet.live, *(fleet.ship(f"image-{number}") for number in range(2, 9))]
    kept = [release["id"] for release in kept_releases(fleet.state)]
    assert kept == ids[: -KEEP_RELEASES - 1 : -1]
    canary = fleet.ship("image-9", canary_percent=5)
    assert [release["id"] for release in kept_releases(fleet.state)] == [kept[0], canary, *kept[1:]]


def test_a_release_that_goes_live_again_is_kept_once(fleet: Fleet) -> None:
    first = fleet.live
    second = fleet.ship("image-2")
    fleet.ship("image-1")
    assert fleet.live == first
    assert [entry["id"] for entry in fleet.state["previous"]] == [second]


def test_nothing_is_kept_where_nothing_is_live() -> None:
    assert kept_releases(EMPTY_STATE) == []


# Drain, undrain, remove.


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


# The gate.


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
    return {"release_probe": {"endpoints": endpoints}}


def test_what_load_balancers_can_t_use_is_told_by_node_and_load_balancer() -> None:
    right: dict[str, Any] = {"ready": True, "release": "new", "error": ""}
    hostvars: Any = {
        "lb1": probe(n1=right, n2={**right, "release": "old"}),
        "lb2": probe(n1={**right, "ready": False, "error": "timed out"}, n2=right),
        "lb3": probe(n1={**right, "ready": False}),
        "lb4": {"release_probe": {}},  # there was nothing to probe
        "lb5": {},
    }
    assert unseen_endpoints(hostvars, ["lb1", "lb2", "lb3", "lb4", "lb5"], "new") == {
        "n1": {"lb2": "timed out", "lb3": "it says that it is not ready"},
        "n2": {"lb1": "it answers as release old, not new"},
    }


# Nodes that come back, and that join.


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
    fleet.hostvars["n4"] = {"model_endpoint_weight": 2}
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
    fleet.hostvars["n4"] = {}
    fleet.run()
    fleet.state = ramped(fleet.state)
    assert fleet.run().state["nodes"]["n4"]["share"] == 50
    assert ramp_left(fleet.state) == 2


def test_a_node_joins_at_once_where_nobody_serves_or_no_ramp_is_wanted(empty: Fleet) -> None:
    empty.run()
    assert ramp_left(empty.state) == 0
    empty.hostvars["n4"] = {}
    empty.run(ramp_seconds=0)
    assert empty.servers()["blue"]["n4"] == 100
    for entry in empty.state["nodes"].values():
        entry["status"] = "down"
    empty.run()
    assert empty.servers()["blue"] == {"n1": 100, "n2": 100, "n3": 100, "n4": 100}


def test_a_node_that_joins_with_a_release_has_its_whole_share_like_the_others(fleet: Fleet) -> None:
    fleet.hostvars["n4"] = {}
    fleet.ship("image-2")
    assert fleet.servers() == {"green": {"n1": 100, "n2": 100, "n3": 100, "n4": 100}}


def test_the_ramp_of_a_node_that_is_down_is_nobody_s_business() -> None:
    down: Any = {"n1": {"status": "down", "share": 25}}
    assert ramp_left({**EMPTY_STATE, "nodes": down}) == 0
    assert ramp_left(EMPTY_STATE) == 0


# What runs and takes no traffic.


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


# Whom the steps are about.


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


def test_a_node_that_is_removed_leaves_if_it_is_there(fleet: Fleet) -> None:
    plan = fleet.plan("remove", node="n2")
    assert groups_of(fleet, plan, ["lb", *fleet.nodes]) == {"n2": ["flotilla_leave"]}
    assert groups_of(fleet, plan, ["lb", "n1", "n3"]) == {}


# What Nginx is given.


def test_servers_have_their_address_port_weight_share_and_concurrency(empty: Fleet) -> None:
    empty.hostvars["n2"]["model_endpoint_threads"] = "3"
    empty.run()
    empty.hostvars["n2"]["model_endpoint_threads"] = 9  # not released yet
    empty.hostvars["n1"].update(model_endpoint_weight=3, model_endpoint_port="6001")
    empty.hostvars["n2"]["model_endpoint_address"] = "2001:db8::2"
    empty.state["nodes"]["n1"]["share"] = 50
    empty.state["nodes"]["n3"]["status"] = "down"
    assert upstream_servers(empty.hostvars, empty.nodes, empty.state) == {
        "blue": [
            {
                "name": "n1",
                "address": "10.0.0.1",
                "port": 6001,
                "weight": 150,
                "concurrency": 2,
                "down": False,
            },
            {
                "name": "n2",
                "address": "2001:db8::2",
                "port": 5001,
                "weight": 100,
                "concurrency": 6,
                "down": False,
            },
            {
                "name": "n3",
                "address": "10.0.0.3",
                "port": 5001,
                "weight": 100,
                "concurrency": 2,
                "down": True,
            },
        ]
    }


def test_the_green_slot_has_the_next_port_and_a_host_may_be_named_by_its_address() -> None:
    assert endpoint_address({"10.0.0.9": {}}, "10.0.0.9", "green") == {
        "name": "10.0.0.9",
        "address": "10.0.0.9",
        "port": 5002,
    }


def test_servers_are_the_state_s_nodes_in_the_inventory_s_order(fleet: Fleet) -> None:
    fleet.state["nodes"] = {name: fleet.state["nodes"][name] for name in ("n3", "n1")}
    fleet.state["nodes"]["gone"] = fleet.state["nodes"]["n1"]
    fleet.hostvars["n4"] = {}
    assert fleet.servers() == {"blue": {"n1": 100, "n3": 100}}


def test_a_candidate_is_served_by_its_members_alone(fleet: Fleet) -> None:
    fleet.ship("image-2", canary_percent=5)
    fleet.state["candidate"]["nodes"] = ["n2", "n3", "gone"]
    fleet.state["drained"] = ["n3"]
    assert fleet.servers() == {"blue": {"n1": 100, "n2": 100}, "green": {"n2": 100}}


def test_no_configuration_without_a_server_that_is_up(fleet: Fleet) -> None:
    fleet.ship("image-2", canary_percent=5)
    fleet.state["candidate"]["nodes"] = []
    with pytest.raises(
        AnsibleFilterError, match="no green endpoint would be left to take traffic: bring a host"
    ):
        fleet.servers()
    for entry in fleet.state["nodes"].values():
        entry["status"] = "down"
    with pytest.raises(AnsibleFilterError, match="no blue endpoint would be left"):
        fleet.servers()


# Node by node.


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
    fleet.hostvars["n4"] = {}
    fleet.image = "image-2"
    assert not fleet.run(rolling=True).gate["passed"]


def test_a_rolling_release_ends_with_nodes_that_join_come_back_or_are_drained(fleet: Fleet) -> None:
    fleet.run(unreachable=["n2"])
    fleet.hostvars["n3"]["model_endpoint_state"] = "drained"
    fleet.hostvars["n4"] = {}
    fleet.hostvars["n5"] = {}
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


def test_two_releases_never_share_an_id(fleet: Fleet) -> None:
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4", "model_endpoint_workers": 8}
    fleet.run()
    before = fleet.live
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4"}
    fleet.run()
    after = fleet.live
    assert after != before
    fleet.ship("image-2")
    fleet.run("rollback", release=after)
    assert release_settings(fleet.state["live"], "n4")["workers"] == 2


def test_a_drain_leaves_a_new_node_and_its_settings_to_the_next_deployment(fleet: Fleet) -> None:
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4", "model_endpoint_workers": 8}
    fleet.run("drain", node="n1")
    assert "n4" not in fleet.state["nodes"]
    assert fleet.run().plan["target"] is None
    assert fleet.state["nodes"]["n4"]["status"] == "up"


def begins_at_once(fleet: Fleet, *machines: dict[str, Any], operation: Operation = "deploy") -> bool:
    """Tell whether a run finds that load balancers, which are `machines`, serve what it begins with."""
    _, run = fleet.planned(operation, away=[f"lb{number}" for number in range(1, len(machines))])
    balancers = run.groups["load_balancers"]
    for balancer, machine in zip(balancers, machines, strict=True):
        run.hostvars[balancer]["flotilla_machine"] = machine
    return baseline_step(run.hostvars, run.groups, [*balancers, *fleet.nodes]) is None


def test_load_balancers_serve_the_baseline_unless_one_serves_something_else_or_a_canary_goes(
    fleet: Fleet,
) -> None:
    def machine(**changed: Any) -> dict[str, Any]:
        return {"state": {**fleet.state, "version": "v1", **changed}, "served": "v1"}

    assert begins_at_once(fleet, machine(), machine())
    assert not begins_at_once(fleet, machine(), machine(version="v2"))
    assert not begins_at_once(fleet, machine(), machine(serial=0))
    assert not begins_at_once(fleet, machine(), {"state": None, "served": ""})
    fleet.image = "image-2"
    fleet.run(canary_percent=20)
    assert not begins_at_once(fleet, machine(), operation="rollback")
    assert latest_state({"lb": machine()["state"]}) == fleet.state


def said(run: Run, **facts: Any) -> str:
    """How a run ended, with these facts of all its hosts: its result and message as one text."""
    verdict = run.finish(**facts)["verdict"]
    return f"{verdict['result']}: {verdict['message']}"


def test_a_run_says_how_it_ended(fleet: Fleet) -> None:
    first = fleet.live
    assert said(fleet.run()) == f"unchanged: release {first} is live on 3 of 3 nodes"
    assert said(fleet.run(), nginx_lb_installed={"changed": True}).startswith("changed: ")
    drained = said(fleet.run("drain", node="n1"))
    assert drained == f"changed: release {first} is live on 2 of 3 nodes"
    fleet.run("undrain", node="n1")
    fleet.image = "image-2"
    canary = fleet.run(canary_percent=20)
    second = canary.plan["target"]["id"]
    assert said(canary).startswith(
        f"canary: release {first} is live on 3 of 3 nodes; {second} gets 20.0 % of the requests"
    )
    assert said(fleet.run("promote")).startswith(f"released: release {second} is live")
    assert said(fleet.run("rollback")).startswith(f"rolled back: release {first} is live")


def test_a_run_that_failed_says_what_went_wrong(fleet: Fleet) -> None:
    run = fleet.run()
    run.hostvars["n2"]["release_not_stopped"] = "n2: b"
    run.hostvars["lb"]["virtual_address_error"] = "lb: c"
    ended = run.finish(release_failure="n1: a")
    assert f"{ended['verdict']['result']}: {ended['verdict']['message']}" == (
        f"failed: release {fleet.live} is live on 3 of 3 nodes; n1: a; n2: b; lb: c"
    )
    assert ended["faults"] == ["n1: a", "n2: b", "lb: c"]
    assert ended["forgiving"]


def test_what_a_run_without_a_release_left_out_is_a_fault_though_the_run_goes_on(fleet: Fleet) -> None:
    fleet.runs["n2"].clear()
    ended = fleet.run(unready=["n2"]).finish()
    assert ended["verdict"]["result"] == "changed"
    assert ended["faults"] == ["n2: wrong answer\n  Its last log lines:\n    line"]


def test_a_run_says_what_will_go_wrong(fleet: Fleet) -> None:
    run = fleet.run()
    ended = outcome(
        run.plan,
        run.state,
        fleet.nodes,
        fleet.nodes,
        decided="",
        reloaded=False,
        faults=[],
        warnings=["it ends"],
    )
    assert ended["message"].endswith("; warning: it ends")
    assert (ended["result"], ended["warnings"]) == ("unchanged", ["it ends"])


def test_nothing_is_live_before_the_first_release(empty: Fleet) -> None:
    _, run = empty.planned("deploy")
    ended = run.finish(release_failure="no")["verdict"]
    assert (ended["live"], ended["candidate"], ended["previous"]) == ("", "", [])
    assert ended["message"].startswith("nothing is live; ")


def test_the_audit_log_gets_a_line_of_each_run_that_changed_something(fleet: Fleet) -> None:
    assert fleet.run().finish()["audit"] is None
    fleet.image = "image-2"
    run = fleet.run()
    assert run.finish()["audit"] == {
        "time": "1970-01-01T00:21:40+00:00",
        "result": "released",
        "live": fleet.live,
        "message": f"release {fleet.live} is live on 3 of 3 nodes",
    }


def test_hosts_that_were_away_are_forgiven_where_that_is_allowed_or_they_are_gone_for_good(
    fleet: Fleet,
) -> None:
    assert not fleet.run().finish()["forgiving"]
    assert fleet.run(allow_unreachable="yes").finish()["forgiving"]
    assert not fleet.run("remove", node="n1", unreachable=["n3"]).finish()["forgiving"]
    fleet.run("deploy")
    assert fleet.run("remove", node="n2", unreachable=["n2"]).finish()["forgiving"]


# The state's format.


def old_form(state: State) -> dict[str, Any]:
    """The state as the version before formats wrote it."""
    old: dict[str, Any] = copy.deepcopy(dict(state))
    del old["format"]
    old["colour"] = old.pop("live_slot")
    old["version"] = "v1"
    for release in [old["live"], *old["previous"]]:
        release["settings"]["common"]["fast_lane"] = release["settings"]["common"].pop("fast_path")
    return old


def test_a_state_without_a_format_is_converted_and_changes_nothing_else(fleet: Fleet) -> None:
    fleet.hostvars["n2"]["model_endpoint_fast_path"] = False
    fleet.ship("image-2")
    before = copy.deepcopy(fleet.state)
    assert "fast_lane" in old_form(before)["previous"][0]["settings"]["common"]
    assert latest_state({"lb": old_form(before)}) == before
    # A run that finds the old form takes the fleet over without a release, and leaves the number as it is.
    _, run = fleet.planned("deploy")
    run.hostvars["lb"]["flotilla_machine"]["state"] = old_form(before)
    assert found_state(run.hostvars, run.groups, run.present) == before
    assert begins_at_once(fleet, {"state": old_form(before), "served": "v1"})
    assert fleet.run().plan["target"] is None
    assert fleet.state == before


def test_a_node_s_own_setting_is_converted_too(fleet: Fleet) -> None:
    fleet.hostvars["n2"]["model_endpoint_fast_path"] = False
    fleet.ship("image-2")
    old = old_form(fleet.state)
    old["live"]["settings"]["nodes"] = {"n2": {"fast_lane": False}}
    assert latest_state({"lb": old}) == fleet.state


def test_a_newer_state_is_refused_naming_both_formats_and_nothing_is_planned(fleet: Fleet) -> None:
    newer = {**fleet.state, "format": STATE_FORMAT + 1, "serial": 1}
    with pytest.raises(NewerStateError) as refused:
        latest_state({"lb1": newer, "lb2": written(fleet.state)})
    assert str(refused.value) == (
        "lb1: the state has format 2, and this Flotilla knows 1: run the newer Flotilla that wrote it"
    )
    fleet.state = newer
    step, _ = fleet.planned("deploy")
    assert step["refusal"].startswith("lb: the state has format 2, and this Flotilla knows 1")
    assert (step["state"], step["hosts"]) == (EMPTY_STATE, [])


# What the steps tell each other.


def test_a_run_limited_to_nodes_reads_the_state_elsewhere(fleet: Fleet) -> None:
    fleet.image = "image-2"
    step, _ = fleet.planned("deploy", ["n1"], balancers_in_scope=False)
    assert step["state"] == fleet.state
    assert step["plan"]["note"].endswith(f"{fleet.live} stays live until site.yml runs without --limit")


def test_the_user_is_told_what_goes_live_where(fleet: Fleet, empty: Fleet) -> None:
    assert fleet.planned("deploy")[0]["shown"] == []
    first = fleet.live
    fleet.image = "image-2"
    step, run = fleet.planned("deploy")
    assert step["shown"] == [
        f"release {run.plan['target']['id']} goes live on n1, n2, n3 in the green slots",
        f"live until then is {first}",
    ]
    (line,) = Fleet().planned("deploy")[0]["shown"]
    assert line.endswith("goes live on n1, n2, n3 in the blue slots")


def balancers(**facts: Any) -> dict[str, Any]:
    """The facts of two load balancers, those of lb2 given, and of a node."""
    common = {"release_state": "old", "release_failure": "", "release_result": ""}
    return {
        "lb1": {**common, "release_state": "new", "flotilla_machine": {"addresses": {"10.0.0.9": "eth0"}}}
        | {"virtual_address_ip": "10.0.0.9/24"},
        "lb2": {**common, "release_state": "new", "virtual_address_ip": "10.0.0.9/24", **facts},
        "n1": common,
    }


TWO_BALANCERS = {"load_balancers": ["lb1", "lb2"], "model_nodes": ["n1"]}


def test_the_load_balancer_that_holds_the_address_is_changed_last() -> None:
    hostvars: Any = balancers()
    assert present_balancers(hostvars, TWO_BALANCERS, ["n1", "lb1", "lb2"]) == ["lb2", "lb1"]
    assert present_balancers(hostvars, TWO_BALANCERS, ["n1", "lb1"]) == ["lb1"]


def test_all_hosts_hear_of_the_state_the_failure_and_the_result_of_the_load_balancers() -> None:
    hostvars: Any = balancers(release_failure="lb2: no", release_result="returned")
    synced: Any = sync_step(hostvars, TWO_BALANCERS, ["n1", "lb1", "lb2"])
    assert synced == {"state": "new", "failure": "lb2: no", "result": "returned"}
    hostvars["lb1"]["release_failure"] = "lb1: no"
    assert sync_step(hostvars, TWO_BALANCERS, ["n1", "lb1"])["failure"] == "lb1: no"
    # Without a load balancer the hosts go on with what they know.
    unheard: Any = sync_step(hostvars, TWO_BALANCERS, ["n1"])
    assert unheard == {"state": "old", "failure": "", "result": ""}


def test_a_state_that_a_load_balancer_refused_is_an_error_of_that_load_balancer() -> None:
    hostvars: Any = balancers(release_apply_error="lb2: Nginx refuses it")
    assert apply_errors(hostvars, TWO_BALANCERS, ["lb1", "lb2"]) == ["lb2: Nginx refuses it"]
    assert apply_errors(hostvars, TWO_BALANCERS, ["lb1"]) == []


def test_a_rotation_stops_where_a_host_is_missing() -> None:
    assert rotate_step(TWO_BALANCERS, ["lb1", "lb2", "n1"]) == ""
    assert rotate_step(TWO_BALANCERS, ["lb1"]).startswith(
        "lb2, n1: not every host could be given its certificates."
    )


def test_a_ramp_takes_a_quarter_of_its_time_for_each_step(fleet: Fleet) -> None:
    fleet.hostvars["n4"] = {}
    run = fleet.run(ramp_seconds=9)
    step = ramp_step(run.hostvars, run.groups, run.present)
    assert step["seconds"] == 3
    assert step["state"]["nodes"]["n4"]["share"] == 50
    assert step["state"]["serial"] == run.state["serial"] + 1


def test_a_release_that_fails_its_gate_returns_the_canary_of_the_same_release(fleet: Fleet) -> None:
    fleet.ship("image-2", canary_percent=5)
    run = fleet.run(canary_percent=20, unready=["n1"])
    assert not run.gate["passed"]
    assert fleet.state["candidate"] is None
    assert all(slots == {"blue": fleet.live} for slots in fleet.runs.values())
    assert run.finish()["verdict"]["result"] == "failed"


def test_a_release_that_does_worse_is_returned(fleet: Fleet) -> None:
    first = fleet.live
    fleet.image = "image-2"
    run = fleet.run()
    state = undo_step(run.hostvars, run.present, fleet.now)
    assert state
    assert state["live"]
    assert (state["live"]["id"], state["candidate"]) == (first, None)
    run.share(release_failure="worse", release_undone=state)
    # It was tried; whether it worked is the load balancers' to say.
    assert run.finish()["verdict"]["result"] == "failed"
    run.share(release_state=state)
    assert run.finish()["verdict"]["result"] == "returned"
    assert not gets_traffic(run.plan, state)
    assert undo_step(run.hostvars, run.present, fleet.now) is None


def test_what_leaves_the_traffic_is_drained(fleet: Fleet) -> None:
    def draining(run: Run) -> list[tuple[str, int]]:
        found = commit_step(run.hostvars, run.groups, run.present)["draining"]
        return [(address["name"], address["port"]) for address in found]

    assert draining(fleet.run()) == []
    assert draining(fleet.run("drain", node="n2")) == [("n2", 5001)]
    assert draining(fleet.run("undrain", node="n2")) == []
    fleet.run(unreachable=["n3"])
    fleet.image = "image-2"
    run = fleet.run()
    assert draining(run) == [("n1", 5001), ("n2", 5001)]
    run.share(release_failure="lb: no")
    assert commit_step(run.hostvars, run.groups, run.present) == {"retired": [], "draining": []}
    assert draining(fleet.run("remove", node="n1")) == [("n1", 5002)]
    fleet.image = "image-3"
    assert draining(fleet.run(canary_percent=5)) == []


def test_no_container_stops_while_a_load_balancer_is_away(fleet: Fleet) -> None:
    fleet.runs["n1"]["green"] = "old"
    run = fleet.run(away=["lb2"])
    assert commit_step(run.hostvars, run.groups, run.present)["retired"] == []
    run = fleet.run(steps=0)
    assert commit_step(run.hostvars, run.groups, run.present)["retired"] == [{"node": "n1", "slot": "green"}]


def sample(requests: int, failures: int) -> dict[str, Any]:
    return {"requests": requests, "failures": failures, "histogram": {"0": requests}}


def watched(run: Run, number: int, green: dict[str, Any], **before: Any) -> tuple[str, str]:
    """How a release in green is judged at a step: the verdict, and the failure that the verdict means."""
    log = {"slots": {"blue": sample(100, 0), "green": green}, "endpoints": {}, "releases": {}}
    run.hostvars["lb"]["release_access_log"] = {"sample": log}
    run.hostvars["lb"]["release_log_before"] = {"sample": {**log, "slots": before}}
    verdict = judge_step(run.hostvars, run.groups, run.present, number)
    return verdict["verdict"], verdict["failure"]


def test_a_release_is_judged_beside_the_live_one_and_at_the_end_beside_what_was_before(fleet: Fleet) -> None:
    fleet.image = "image-2"
    run = fleet.run(canary_steps=STEPS, watch_min_requests=10)
    name = run.plan["target"]["id"]
    assert watched(run, 0, sample(20, 0)) == ("pass", "")
    verdict, failure = watched(run, 0, sample(20, 5), blue=sample(100, 50))
    assert (verdict, failure.partition(": ")[0]) == ("worse", f"release {name} at 5.0 %")
    assert watched(run, 2, sample(20, 5), blue=sample(100, 50)) == ("pass", "")
    assert watched(run, 2, sample(9, 0)) == (
        "too few",
        f"release {name} at 100.0 %: it was asked 9 times, and 10 (release_watch_min_requests) make a judgement",
    )
    run.hostvars["lb"]["release_watch_too_few"] = "pass"
    assert watched(run, 2, sample(9, 0)) == ("too few", "")


@pytest.mark.parametrize(
    ("bake", "polls", "apart"), [(0, 0, 1), (1, 1, 1), (7, 7, 1), (30, 10, 3), (95, 10, 10)]
)
def test_a_bake_is_about_ten_polls_a_second_apart_at_least(
    fleet: Fleet, bake: int, polls: int, apart: int
) -> None:
    fleet.image = "image-2"
    plan = fleet.plan("deploy", bake_seconds=bake)
    (step,) = plan["steps"]
    assert (step["polls"], step["poll_seconds"]) == (polls, apart)
    assert plan["watched"] == (bake > 0)


def test_images_that_a_kept_release_needs_or_that_the_builder_pushes_stay(fleet: Fleet) -> None:
    fleet.ship("image-2")
    name = "registry:5000/flotilla/model-endpoint@sha256"
    fleet.state["live"]["reference"] = f"{name}:2"
    images = [
        f"{name}:1",
        f"{name}:2",
        "registry:5001/flotilla/model-endpoint@sha256:1",
        "flotilla/nginx@sha256:1",
    ]
    assert unneeded_images(images, fleet.state, "registry:5001") == [f"{name}:1"]


def test_a_container_is_another_when_how_it_is_run_changes(tmp_path: Path) -> None:
    for name in RECIPE_FILES:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("one")
        assert (ROLES / name).exists()
    first = container_recipe(str(tmp_path))
    assert len(first) == 8
    for name in RECIPE_FILES:
        (tmp_path / name).write_text(f"other {name}")
    assert container_recipe(str(tmp_path)) != first

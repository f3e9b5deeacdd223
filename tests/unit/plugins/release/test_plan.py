"""What each run plans: for the whole fleet, for a part of the fleet, and on the way back."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.placement import missing_container
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import Operation

from unit.plugins.release.fleet import Fleet


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
    assert missing_container(plan, {}, "n1", None) is None


def test_a_limited_run_adds_a_node_to_the_release_that_is_live(fleet: Fleet) -> None:
    fleet.image = "image-2"
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4"}
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
    for step, run in (
        fleet.planned("deploy", shadow_percent=10),
        fleet.planned("deploy", canary_percent=5),
    ):
        assert step["shown"] == [
            f"release {run.plan['target']['id']} is started on n1, n2, n3 in the green slots",
            f"{first} stays live",
        ]
    (line,) = Fleet().planned("deploy")[0]["shown"]
    assert line.endswith("goes live on n1, n2, n3 in the blue slots")

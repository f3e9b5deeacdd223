"""A release beside the live one: a canary, its steps, a shadow, and their promotion."""

from __future__ import annotations

import copy

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import release_settings
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import numbered
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import next_state

from unit.plugins.release.fleet import STEPS, Fleet


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
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4", "model_endpoint_workers": 8}
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

"""The state that load balancers keep: its order, its format, and the releases in it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import (
    EMPTY_STATE,
    KEEP_RELEASES,
    UPDATED_FORMAT,
    NewerStateError,
    kept_releases,
    latest_state,
    numbered,
    unneeded_images,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import found_state
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import State

from unit.plugins.release.fleet import Fleet, begins_at_once


def written(state: State) -> dict[str, Any]:
    """The state as a load balancer keeps it."""
    return {**state, "version": "v1"}


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
    old["live"]["settings"]["nodes"]["n2"] = {"address": "10.0.0.2", "fast_lane": False}
    assert latest_state({"lb": old}) == fleet.state


def test_a_newer_state_is_refused_naming_both_formats_and_nothing_is_planned(fleet: Fleet) -> None:
    newer = {**fleet.state, "format": UPDATED_FORMAT + 1, "serial": 1}
    with pytest.raises(NewerStateError) as refused:
        latest_state({"lb1": newer, "lb2": written(fleet.state)})
    assert str(refused.value) == (
        "lb1: the state has format 3, and this Flotilla knows 2: run the newer Flotilla that wrote it"
    )
    fleet.state = newer
    step, _ = fleet.planned("deploy")
    assert step["refusal"].startswith("lb: the state has format 3, and this Flotilla knows 2")
    assert (step["state"], step["hosts"]) == (EMPTY_STATE, [])


def test_images_that_a_kept_release_needs_or_that_the_builder_pushes_stay() -> None:
    name = "registry:5000/flotilla/model-endpoint@sha256"
    images = [
        f"{name}:1",
        f"{name}:2",
        "registry:5001/flotilla/model-endpoint@sha256:1",
        "flotilla/nginx@sha256:1",
    ]
    assert unneeded_images(images, [f"{name}:2"], "registry:5001") == [f"{name}:1"]

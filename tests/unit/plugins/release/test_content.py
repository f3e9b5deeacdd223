"""What is a release: the image, and how each node's container is run."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import (
    new_release,
    release_settings,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Option, settings_of

from unit.plugins.release.fleet import Fleet


def test_a_changed_weight_is_no_release(fleet: Fleet) -> None:
    fleet.hostvars["n2"]["model_endpoint_weight"] = "3"
    assert fleet.run().plan["target"] is None
    assert fleet.servers() == {"blue": {"n1": 100, "n2": 300, "n3": 100}}


@pytest.mark.parametrize("own", [{}, {"model_endpoint_memory": "2g", "model_endpoint_workers": 8}], ids=str)
def test_a_node_that_joins_is_no_release_whatever_its_settings(fleet: Fleet, own: dict[str, Any]) -> None:
    first = fleet.live
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4", **own}
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

"""A builder that lost its images, and a machine that is the builder no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.registry import lost_image
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.commit import commit_step

from unit.plugins.release.fleet import Fleet


def test_a_live_release_whose_image_the_builder_s_registry_has_lost_is_to_be_started_anew(
    fleet: Fleet,
) -> None:
    fleet.state["live"]["reference"] = "10.0.0.9:5000/flotilla/model-endpoint@sha256:1"
    groups = {"load_balancers": ["lb"], "model_nodes": fleet.nodes}

    def lost(machine: dict[str, Any], present: Sequence[str] = ("lb",)) -> list[str]:
        variables: Any = {"lb": {"flotilla_machine": {**fleet.balancer_machine(), **machine}}}
        return lost_image(fleet.state, variables, groups, present)

    assert lost({"registry": ["sha256:0", "sha256:1"]}) == []
    live = fleet.state["live"]["id"]
    assert lost({"registry": ["sha256:0"]}) == [f"lb: its registry does not hold the image of release {live}"]
    assert lost({"registry": []}, present=["n1"]) == []
    # Nothing is said of what was not looked at, nor in check mode of what would be released.
    assert lost({}) == []
    fleet.state["live"]["reference"] = "flotilla/model-endpoint:image-1"
    assert lost({"registry": []}) == []


def test_a_builder_that_was_lost_gets_the_live_release_anew_and_the_traffic_goes_there(fleet: Fleet) -> None:
    fleet.state["live"]["reference"] = "10.0.0.9:5000/flotilla/model-endpoint@sha256:1"
    live, inspected = fleet.state["live"], fleet.balancer_machine
    fleet.balancer_machine = lambda: {**inspected(), "registry": []}  # type: ignore[method-assign]
    limited = fleet.plan("deploy", ["n1"])
    assert limited["target"] is None
    assert "its registry does not hold the image" in limited["note"]
    fleet.run()
    assert fleet.state["live"]["id"] != live["id"]
    assert fleet.state["live"]["image"] == live["image"]
    assert fleet.state["live_slot"] == "green"
    assert fleet.state["previous"] == []


def test_a_registry_is_removed_from_a_machine_that_is_the_builder_no_more(fleet: Fleet) -> None:
    registry = {
        "flotilla-registry": {"labels": {"flotilla.role": "registry"}, "running": True, "settings": {}}
    }

    def removed(*limit: str) -> Any:
        _, run = fleet.planned("deploy", limit)
        for host in ("lb", "n1"):
            run.hostvars[host]["flotilla_machine"]["containers"] |= registry
        left = commit_step(run.hostvars, run.groups, run.present)["leftovers"]
        left = [entry for entry in left if entry["registry"]]
        # Their ports are guarded no more.
        assert [entry["containers"] for entry in left] == [[*registry] for _ in left]
        return [entry["host"] for entry in left]

    assert removed() == ["n1"]
    fleet.builder = "n1"
    assert removed() == ["lb"]
    # A limited run may leave the builder out, whose registry is to be there first.
    assert removed("n1") == []
    # Two hosts may be one machine.
    fleet.hostvars["lb"]["ansible_host"] = fleet.hostvars["n1"]["ansible_host"]
    assert removed() == []

"""A run says which settings of an earlier run's -e it undoes, and whose they were."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.given import lasting_settings

from unit.plugins.release.fleet import Fleet


def given(**extra: Any) -> Any:
    return lasting_settings(extra, "ann@desk", 0)


def shown(fleet: Fleet, **asked: Any) -> list[str]:
    """The plan's lines about settings of an earlier -e."""
    step, _ = fleet.planned(asked.pop("operation", "deploy"), **asked)
    return [line for line in step["shown"] if "-e" in line]


def test_settings_that_last_are_remembered_and_secrets_are_not() -> None:
    extra = {
        "model_endpoint_workers": 4,
        "nginx_lb_api_keys": {"ann": "key"},
        "nginx_lb_tls_key": "secret",
        "release_canary_percent": "5",
        "release_bake_seconds": 60,
        "node": "n1",
    }
    found = given(**extra)
    assert {name: entry["value"] for name, entry in found.items()} == {
        "model_endpoint_workers": "4",
        "nginx_lb_api_keys": "",
        "nginx_lb_tls_key": "",
        "release_canary_percent": "5",
    }
    assert found["model_endpoint_workers"]["by"] == "ann@desk"
    assert found["model_endpoint_workers"]["time"] == "1970-01-01 00:00:00Z"


def test_a_release_that_takes_back_what_minus_e_made_says_so_until_it_is_done(fleet: Fleet) -> None:
    fleet.hostvars["n1"]["model_endpoint_workers"] = 4
    fleet.run(given=given(model_endpoint_workers=4))
    del fleet.hostvars["n1"]["model_endpoint_workers"]
    assert shown(fleet) == [
        "model_endpoint_workers was given with -e (4) by ann@desk at 1970-01-01 00:00:00Z, and this run, which has no "
        "such -e, undoes that: set it in the inventory, or give it again, to keep it"
    ]
    assert shown(fleet, given=given(model_endpoint_workers=5)) == []
    assert shown(fleet, operation="drain", node="n1") == []
    fleet.run()
    assert shown(fleet) == []


def test_a_value_that_has_moved_into_the_inventory_is_not_undone(fleet: Fleet) -> None:
    fleet.hostvars["n1"]["model_endpoint_workers"] = 4
    fleet.run(given=given(model_endpoint_workers=4))
    assert shown(fleet) == []
    fleet.image = "image-2"
    assert shown(fleet) == []


def test_a_canary_by_minus_e_that_is_withdrawn_names_who_asked_for_it(fleet: Fleet) -> None:
    before, fleet.image = fleet.image, "image-2"
    fleet.run(canary_percent=5, given=given(release_canary_percent=5))
    fleet.image = before
    (line,) = shown(fleet)
    assert line.startswith("release_canary_percent was given with -e (5) by ann@desk")
    fleet.image = "image-2"
    fleet.run("promote")
    assert shown(fleet) == []


def test_a_setting_of_nginx_is_kept_with_the_state_and_makes_no_change_of_its_own(fleet: Fleet) -> None:
    fleet.run(given=given(nginx_lb_rate=50))
    serial = fleet.state["serial"]
    later = lasting_settings({"nginx_lb_rate": "50"}, "bob@lab", 99)
    fleet.run(given=later)
    assert fleet.state["serial"] == serial
    (line,) = shown(fleet)
    assert "nginx_lb_rate was given with -e (50) by ann@desk" in line
    fleet.run()
    assert "given" not in fleet.state
    assert shown(fleet) == []


def test_a_release_that_failed_leaves_nothing_to_undo(fleet: Fleet) -> None:
    fleet.hostvars["n1"]["model_endpoint_workers"] = 4
    fleet.run(given=given(model_endpoint_workers=4), unready=["n1"])
    del fleet.hostvars["n1"]["model_endpoint_workers"]
    serial = fleet.state["serial"]
    assert shown(fleet) == []
    fleet.run()
    assert fleet.state["serial"] == serial

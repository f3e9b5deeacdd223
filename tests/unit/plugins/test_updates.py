"""Which images an update makes anew, by what name, and what the user is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import image_name
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.plan import Request, release_plan
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import (
    EMPTY_STATE,
    latest_state,
    numbered,
    with_updates,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.status_images import image_lines, image_statuses
from ansible_collections.flotilla.fleet.plugins.plugin_utils.updates import (
    MADE_OF,
    Look,
    image_recipes,
    update_lines,
    updates,
)

ROLES = Path(__file__).parents[3] / "roles"
NOW = 1_800_000_000.0
THEN = "2027-01-15T08:00:00+00:00"
OLD: Look = {
    "image": "flotilla/nginx:1",
    "recorded": True,
    "newer": {"nginx": ["1", "2"], "zlib1g": ["", "3"]},
}
UNKNOWN: Look = {"image": "flotilla/python:1", "recorded": False, "newer": {}}
FRESH: Look = {"image": "flotilla/registry:1", "recorded": True, "newer": {}}


def test_an_image_is_made_anew_where_debian_has_newer_packages_or_nothing_is_known_of_them() -> None:
    assert updates([OLD, UNKNOWN, FRESH], NOW) == {"flotilla/nginx": THEN, "flotilla/python": THEN}
    assert updates([FRESH], NOW) == {}


def test_the_user_is_told_what_is_made_anew_and_why() -> None:
    assert update_lines([OLD, UNKNOWN, FRESH]) == [
        "flotilla/nginx:1 is made anew: Debian has nginx 2 for 1, zlib1g 3",
        "flotilla/python:1 is made anew: an earlier version of Flotilla made it, and kept no record of its packages",
    ]
    assert update_lines([FRESH]) == ["Debian has no newer packages for any of 1 images"]


def test_an_image_has_its_old_name_until_its_first_update_and_then_another_one_each_time() -> None:
    recipe = {"suite": "forky", "packages": ["nginx"]}
    names = [
        image_name(recipe, "flotilla/nginx", packages_of)
        for packages_of in (
            None,
            {},
            {"flotilla/python": THEN},
            {"flotilla/nginx": THEN},
            {"flotilla/nginx": "later"},
        )
    ]
    assert names[0] == names[1] == names[2] == image_name(recipe, "flotilla/nginx")
    assert len({*names}) == 3


def test_every_role_that_names_an_image_tells_what_it_is_made_of() -> None:
    naming = {
        role.name for role in ROLES.iterdir() if "flotilla.fleet.image_name(" in _text(role / "vars/main.yml")
    }
    assert {f"{role}_made_of" for role in naming} == {*MADE_OF}
    for role in naming:
        (task,) = yaml.safe_load((ROLES / role / "tasks/made_of.yml").read_text())
        assert [*task["ansible.builtin.set_fact"]] == [f"{role}_made_of"]
        # Else an update would not reach the image.
        assert "flotilla_packages_of | default({})" in _text(ROLES / role / "vars/main.yml")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_the_builder_is_asked_for_the_images_that_the_inventory_wants() -> None:
    facts: dict[str, Any] = {
        "nginx_lb_made_of": {
            "image": "flotilla/nginx:1",
            "recipe": {"suite": "forky", "packages": ["nginx"], "revision": 1},
        }
    }
    assert image_recipes(facts) == [{"image": "flotilla/nginx:1", "suite": "forky", "packages": ["nginx"]}]


def request(**changes: Any) -> Request:
    settings: Any = {
        "strategy": "slots",
        "bake_seconds": 0,
        "canary_steps": [],
        "canary_percent": None,
        "shadow_percent": 0,
    }
    wanted: Any = {
        "id": "new",
        "image": "i",
        "reference": "",
        "settings": {"common": {}, "nodes": {}},
        "since": 1,
    }
    arguments: dict[str, Any] = {
        "operation": "deploy",
        "nodes": [],
        "balancers": ["lb1"],
        "away": [],
        "limited": False,
        "settings": settings,
        "wanted": wanted,
        **changes,
    }
    return Request(**arguments)


def test_an_update_is_part_of_the_state_that_the_load_balancers_are_to_serve() -> None:
    plan = release_plan(EMPTY_STATE, request(updates={"flotilla/nginx": THEN}))
    assert plan["baseline"].get("packages_of") == {"flotilla/nginx": THEN}
    assert numbered(plan["baseline"], EMPTY_STATE)["serial"] == 1
    # A later run without an update leaves it there.
    again = release_plan(plan["baseline"], request())
    assert again["baseline"] == plan["baseline"]


def test_an_update_of_a_part_of_the_fleet_is_refused() -> None:
    plan = release_plan(EMPTY_STATE, request(updates={"flotilla/nginx": THEN}, limited=True))
    assert "without --limit" in plan["error"]


def test_a_state_with_updates_has_a_format_that_an_earlier_version_refuses() -> None:
    assert with_updates(EMPTY_STATE, {}) == EMPTY_STATE
    state = with_updates(EMPTY_STATE, {"flotilla/nginx": THEN})
    assert (EMPTY_STATE["format"], state["format"]) == (1, 2)
    assert latest_state({"lb1": {**state, "serial": 3}}) == {**state, "serial": 3}


GROUPS = {"load_balancers": ["lb1"], "model_nodes": ["n1"]}


def container(role: str, image: str, **changes: Any) -> dict[str, Any]:
    return {
        "running": True,
        "image": image,
        "labels": {"flotilla.role": role, "flotilla.image": image},
        **changes,
    }


def machine(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"flotilla_machine": {"containers": dict(enumerate(containers)), **more}}


def made(
    days: float, looked: float = NOW, newer: tuple[str, ...] = (), recorded: bool = True
) -> dict[str, Any]:
    return {"made": NOW - days * 86400, "recorded": recorded, "looked": looked, "newer": list(newer)}


def lines(known: dict[str, Any], node: dict[str, Any]) -> list[str]:
    balancer = machine(container("load_balancer", "flotilla/nginx:1"), debian_images=known)
    return image_lines(image_statuses({"lb1": balancer, "n1": node}, GROUPS, ["lb1", "n1"]), NOW)


def test_status_tells_the_age_of_each_image_that_runs_and_what_debian_has() -> None:
    known = {
        "flotilla-nginx-1": made(12.5, newer=("a", "b", "c", "d", "e")),
        "flotilla-python-1": made(0.5),
        "flotilla-python-2": made(40),
    }
    stopped = container("endpoint", "endpoint@2", running=False)
    node = machine(
        container("endpoint", "endpoint@1"),
        stopped,
        bases={"endpoint@1": "flotilla/python:1", "endpoint@2": "flotilla/python:2"},
    )
    assert lines(known, node) == [
        "image flotilla/nginx:1: made 12 days ago, newer packages at 2027-01-15 08:00Z: a, b, c, d and 1 more: "
        "playbooks/update.yml",
        "image flotilla/python:1: made within a day, no newer packages at 2027-01-15 08:00Z",
    ]


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (
            made(1, looked=0),
            "made yesterday, Debian was not asked for newer packages: playbooks/update.yml --check asks",
        ),
        (
            made(3, looked=0, recorded=False),
            "made 3 days ago, the versions of its packages are not recorded: playbooks/update.yml makes it anew",
        ),
    ],
)
def test_where_debian_was_not_asked_status_does_not_say_what_it_has(known: dict[str, Any], told: str) -> None:
    assert lines({"flotilla-nginx-1": known}, machine()) == [f"image flotilla/nginx:1: {told}"]


def test_a_base_that_no_build_has_named_is_not_guessed() -> None:
    told = lines({"flotilla-nginx-1": made(1)}, machine(container("endpoint", "endpoint@1")))
    assert told[1].startswith(
        "image the endpoints' base: made at a time that the builder does not know, the versions"
    )


@pytest.mark.parametrize(
    "reference", ["10.0.0.1:5000/flotilla/nginx:1", "10.0.0.1:5000/flotilla/nginx@sha256:a"]
)
def test_the_image_of_a_container_that_an_earlier_version_ran_is_named(reference: str) -> None:
    nginx = container("load_balancer", reference)
    nginx["labels"].pop("flotilla.image")
    published = {"10.0.0.1:5000/flotilla/nginx:1": "10.0.0.1:5000/flotilla/nginx@sha256:a"}
    balancer = machine(nginx, debian_images={"flotilla-nginx-1": made(1)}, published=published)
    assert list(image_statuses({"lb1": balancer}, GROUPS, ["lb1"]) or ()) == ["flotilla/nginx:1"]


def test_without_the_builder_status_says_nothing_of_images() -> None:
    told = image_lines(image_statuses({"lb1": {}, "n1": machine()}, GROUPS, ["n1"]), NOW)
    assert told == ["images: not looked at, as the builder was not reached"]

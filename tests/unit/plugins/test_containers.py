"""A container is as it should be when its image, its settings and the files it has read are the service's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import wanted_settings
from ansible_collections.flotilla.fleet.plugins.module_utils.mmdebstrap import mmdebstrap_command
from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import (
    container_deviations,
    container_differences,
    containers_of,
    image_name,
)

ROLES = Path(__file__).parents[3] / "roles"
SERVICE: dict[str, Any] = {
    "name": "flotilla-nginx",
    "image": "flotilla/nginx:abc",
    "user": 10002,
    "memory": "512m",
    "pids_limit": 256,
}
BUILDER: dict[str, Any] = {
    "images": {
        "10.0.0.1:5080/flotilla/nginx:abc": "sha256:built",
        "10.0.0.1:5080/flotilla/nginx@sha256:1": "sha256:built",
        "10.0.0.1:5080/flotilla/nginx@sha256:2": "sha256:another",
    },
    "images_made": {"sha256:built": 100, "sha256:another": 100},
}


def machine(**changes: Any) -> dict[str, Any]:
    container = {
        "running": True,
        "health": "",
        "image": "10.0.0.1:5000/flotilla/nginx@sha256:1",
        "image_id": "sha256:pulled",
        "labels": {"flotilla.role": "load_balancer", "flotilla.image": "flotilla/nginx:abc"},
        "settings": wanted_settings(SERVICE),
        "newer_files": False,
        "created": 200,
        **changes,
    }
    return {"containers": {"flotilla-nginx": container}}


def test_a_container_that_runs_as_it_should_has_no_difference() -> None:
    assert container_differences(machine(), SERVICE) == []


def test_differences_are_named() -> None:
    assert container_differences({"containers": {}}, SERVICE) == ["missing"]
    assert container_differences(machine(running=False), SERVICE) == ["stopped"]
    assert container_differences(machine(health="starting"), SERVICE) == []
    assert container_differences(machine(health="unhealthy"), SERVICE) == ["unhealthy"]
    # A container that does not run has the health that it had.
    assert container_differences(machine(running=False, health="unhealthy"), SERVICE) == ["stopped"]
    assert container_differences(machine(), {**SERVICE, "memory": "1g"}) == ["memory"]
    assert container_differences(machine(), {**SERVICE, "image": "flotilla/nginx:def"}) == ["image"]


def test_newer_files_count_only_for_a_service_that_reads_them_at_start() -> None:
    assert container_differences(machine(newer_files=True), SERVICE) == []
    reader = {**SERVICE, "reads_files_at_start": True}
    assert container_differences(machine(newer_files=True), reader) == ["files"]


def test_an_image_is_known_by_what_the_engines_tell_and_not_by_the_label() -> None:
    assert container_differences(machine(), SERVICE, BUILDER) == []
    other = machine(image="10.0.0.1:5000/flotilla/nginx@sha256:2")
    assert container_differences(other, SERVICE, BUILDER) == ["image"]
    # The machine's own engine knows the image by its name.
    own = {"flotilla/nginx:abc": "sha256:pulled"}
    assert container_differences({**machine(), "images": own}, SERVICE, BUILDER) == []
    assert container_differences({**machine(image_id="sha256:else"), "images": own}, SERVICE) == ["image"]


def test_an_image_that_was_made_after_the_container_does_not_replace_it() -> None:
    """A builder that was lost has made the images anew, by the same recipes."""
    other = machine(image="10.0.0.1:5000/flotilla/nginx@sha256:2")
    anew = {**BUILDER, "images_made": {"sha256:built": 300}}
    assert container_differences(other, SERVICE, anew) == []
    assert container_differences(other, {**SERVICE, "image": "flotilla/nginx:def"}, anew) == ["image"]
    # The builder may be the machine itself.
    own = {"images": {"flotilla/nginx:abc": "sha256:built"}, "images_made": {"sha256:built": 300}}
    assert container_differences({**other, **own}, SERVICE, own) == []
    assert container_differences({**other, **own, "images_made": {"sha256:built": 200}}, SERVICE) == ["image"]


def test_a_container_of_an_earlier_version_is_known_by_its_image_s_digest() -> None:
    labels = {"flotilla.role": "load_balancer", "flotilla.recipe": "anything"}
    earlier = machine(labels=labels)
    assert container_differences(earlier, SERVICE, BUILDER) == []
    assert container_differences(earlier, SERVICE, {}) == ["image"]
    assert container_differences(earlier, {**SERVICE, "image": "flotilla/nginx:def"}, BUILDER) == ["image"]
    by_name = machine(labels=labels, image="flotilla/nginx:abc")
    assert container_differences(by_name, SERVICE) == []


def test_labels_and_environment_are_compared_where_the_service_names_them() -> None:
    labelled = {**SERVICE, "labels": {"flotilla.role": "load_balancer"}}
    assert container_differences(machine(), labelled) == []
    assert container_differences(machine(), {**SERVICE, "labels": {"flotilla.role": "registry"}}) == [
        "labels"
    ]
    (deviation,) = container_deviations(machine(), {**SERVICE, "env": {"A": "1"}})
    assert (deviation.wanted, deviation.found) == ("environment {'A': '1'}", "environment {'A': None}")


def test_a_memory_limit_that_is_no_size_is_named_with_its_service() -> None:
    with pytest.raises(AnsibleFilterError, match="flotilla-nginx: 'much' is no size"):
        container_differences(machine(), {**SERVICE, "memory": "much"})


def test_containers_are_found_by_their_role() -> None:
    assert containers_of(machine(), "load_balancer") == ["flotilla-nginx"]
    assert containers_of(machine(), "endpoint") == []


def test_an_image_s_name_changes_with_its_recipe_and_not_with_the_order_of_its_keys() -> None:
    recipe = {"suite": "forky", "packages": ["nginx"]}
    name = image_name(recipe, "flotilla/nginx")
    assert name.startswith("flotilla/nginx:")
    assert name == image_name(dict(reversed(recipe.items())), "flotilla/nginx")
    assert name != image_name({**recipe, "suite": "trixie"}, "flotilla/nginx")


def test_what_makes_an_image_is_what_its_name_stands_for() -> None:
    """Where this fails, module debian_image makes another image of the same recipe: change MAKER as well."""
    command = mmdebstrap_command("suite", ["one"], {"/bin/a": "cap_x=+ep"}, {"/b": "text"}, ["/c"], "t.tar")
    digest = hashlib.sha256(json.dumps(command).encode()).hexdigest()
    assert digest == "eb858887cdcbeb0c91c590fd458e76baa513240ac8b396bf1d973dd362e2adb1"


def test_the_image_of_nginx_is_the_one_that_fleets_run() -> None:
    """Where this fails, every load balancer of a fleet restarts Nginx once, which loses requests: avoid it."""
    recipe = yaml.safe_load((ROLES / "nginx_lb/vars/main.yml").read_text())["__nginx_lb_image_recipe"]
    revision = yaml.safe_load((ROLES / "nginx_lb/defaults/main.yml").read_text())["nginx_lb_image_revision"]
    scripts = (ROLES / "nginx_lb/files").glob("*.js")
    files = {f"/usr/share/flotilla/{script.name}": script.read_text() for script in scripts}
    name = image_name({**recipe, "files": files, "revision": revision}, "flotilla/nginx")
    assert name == "flotilla/nginx:44702f4fc887"

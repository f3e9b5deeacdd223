"""Runs on the controller: compares a machine's containers with the services that they are to be, and names images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import (
    different_settings,
    wanted_settings,
)

IMAGE_LABEL = "flotilla.image"
"""The label that holds the name of a service's image. The engine tells the digest that the container was made of."""

MAKER = "414bf297b6345843e53a66d4fe187bcafc54a2d11ae889824cab9297819b167a"
"""Stands for what module debian_image makes of a recipe. Change it together with what the module makes: every image
of Debian packages then gets a new name, and is made anew. Nginx and keepalived are restarted for it. (It is the hash
of the module's text in the version that the first fleets were deployed with, whose images have it in their names.)"""


def image_name(recipe: Mapping[str, Any], repository: str) -> str:
    """Return the name of the image in `repository` that module debian_image makes by `recipe`.

    The same recipe has the same name, and another one has another.
    """
    text = json.dumps({**_templated(recipe), "maker": MAKER}, sort_keys=True)
    return f"{repository}:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _templated(value: Any) -> Any:
    """Return `value` with plain containers. Ansible's own template an item only when the item is read."""
    if isinstance(value, Mapping):
        return {key: _templated(value[key]) for key in value}
    if isinstance(value, list):
        return [_templated(value[index]) for index in range(len(value))]
    return value


def container_differences(
    machine: Mapping[str, Any], service: Mapping[str, Any], published: Mapping[str, str] | None = None
) -> list[str]:
    """Return in what the container of `service` differs from it on a machine, sorted; empty when it is as it should be.

    `machine` is what module machine_state found, `service` what role container runs. A difference is "missing",
    "stopped", "image", "files" (the service reads its files at start only, and they have changed since) or the name
    of a setting. `published` is the image builder's, by which the image of a container without the label IMAGE_LABEL
    is known.

    Raises:
        AnsibleFilterError: when the service has a memory limit that is no size.
    """
    found = machine["containers"].get(service["name"])
    if found is None:
        return ["missing"]
    try:
        differences = different_settings(found["settings"], wanted_settings(service))
    except ValueError as error:
        raise AnsibleFilterError(f"{service['name']}: {error}") from error
    if not found["running"]:
        differences.append("stopped")
    if not _is_image(found, service["image"], published or {}):
        differences.append("image")
    if service.get("reads_files_at_start") and found["newer_files"]:
        differences.append("files")
    return sorted(differences)


def _is_image(container: Mapping[str, Any], image: str, published: Mapping[str, str]) -> bool:
    """Return whether a container was made of the image of that name."""
    label = container["labels"].get(IMAGE_LABEL)
    if label is not None:
        return bool(label == image)
    if container["image"] == image:
        return True
    # Containers of earlier versions have no such label.
    digests = {
        reference.rpartition("@")[2] for name, reference in published.items() if name.endswith(f"/{image}")
    }
    return "@" in container["image"] and container["image"].rpartition("@")[2] in digests


def containers_of(machine: Mapping[str, Any], role: str) -> list[str]:
    """Return the names of a machine's containers whose label flotilla.role is `role`, sorted."""
    return sorted(
        name
        for name, container in machine["containers"].items()
        if container["labels"].get("flotilla.role") == role
    )

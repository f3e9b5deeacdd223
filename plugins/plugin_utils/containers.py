"""Runs on the controller: compares a machine's containers with the services that they are to be, and names images."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import (
    different_settings,
    wanted_settings,
)

IMAGE_LABEL = "flotilla.image"
"""The label that holds the name of a service's image."""

MAKER = "414bf297b6345843e53a66d4fe187bcafc54a2d11ae889824cab9297819b167a"
"""Stands for what module debian_image makes of a recipe. Change it together with what the module makes: every image
of Debian packages then gets a new name, and is made anew. Nginx and keepalived are restarted for it. (It is the hash
of the module's text in the version that the first fleets were deployed with, whose images have it in their names.)"""


def image_name(
    recipe: Mapping[str, Any], repository: str, packages_of: Mapping[str, str] | None = None
) -> str:
    """Return the name of the image in `repository` that module debian_image makes by `recipe`.

    The same recipe has the same name, and another one has another. `packages_of` has, by repository, the time of the
    update that gave the image newer packages; an image that had no update yet is not named in it.
    """
    whole = {**_templated(recipe), "maker": MAKER}
    if updated := (packages_of or {}).get(repository):
        whole["packages_of"] = updated
    text = json.dumps(whole, sort_keys=True)
    return f"{repository}:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _templated(value: Any) -> Any:
    """Return `value` with plain containers. Ansible's own template an item only when the item is read."""
    if isinstance(value, Mapping):
        return {key: _templated(value[key]) for key in value}
    if isinstance(value, list):
        return [_templated(value[index]) for index in range(len(value))]
    return value


def mounted(volumes: Sequence[str], machine: Mapping[str, Any]) -> list[str]:
    """Return the `volumes` of a service as they are mounted on a machine, which is what module machine_state found.

    Where SELinux confines containers, the engine gives the folders the label that several containers share.
    """
    if not machine.get("selinux"):
        return list(volumes)
    return [f"{volume if volume.count(':') > 1 else f'{volume}:rw'},z" for volume in volumes]


class Deviation(NamedTuple):
    """In what a container is not as its service."""

    name: str
    """A setting, or missing, stopped, unhealthy, image, labels or files."""
    wanted: str
    found: str


def container_differences(
    machine: Mapping[str, Any],
    service: Mapping[str, Any],
    builder: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the names of the container_deviations, sorted; none where the container is as it should be."""
    return [deviation.name for deviation in container_deviations(machine, service, builder)]


def container_deviations(
    machine: Mapping[str, Any],
    service: Mapping[str, Any],
    builder: Mapping[str, Any] | None = None,
) -> list[Deviation]:
    """Return in what the container of `service` is not as it should be on a machine, sorted by name.

    `machine` is what module machine_state found, `service` what role container runs. Its files count where it reads
    them at start only. `builder` is what the module found on the builder's machine, whose engine tells the digests of
    an image that the service names by its tag.

    Raises:
        AnsibleFilterError: when the service has a memory limit that is no size.
    """
    found = machine["containers"].get(service["name"])
    if found is None:
        return [Deviation("missing", "running", "missing")]
    try:
        wanted, present = wanted_settings(service), found["settings"]
    except ValueError as error:
        raise AnsibleFilterError(f"{service['name']}: {error}") from error
    settings: Mapping[str, Any] = {**wanted}
    deviations = [
        Deviation(name, f"{name} {settings[name]}", f"{name} {present.get(name)}")
        for name in different_settings(present, wanted)
        if name != "environment"
    ]
    deviations += _parts("environment", settings["environment"], present.get("environment") or {})
    deviations += _parts("labels", service.get("labels", {}), found["labels"])
    if not found["running"]:
        deviations.append(Deviation("stopped", "running", "stopped"))
    elif found["health"] == "unhealthy":
        deviations.append(Deviation("unhealthy", "healthy", "unhealthy"))
    if not _is_image(found, service["image"], machine, builder or {}):
        deviations.append(Deviation("image", f"image {service['image']}", f"image {found['image']}"))
    if service.get("reads_files_at_start") and found["newer_files"]:
        deviations.append(Deviation("files", "its files read", "files newer than its start"))
    return sorted(deviations)


def _parts(name: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> list[Deviation]:
    """Return that the environment or the labels, of which the image may give others, lack what is wanted."""
    lacking = {key: value for key, value in wanted.items() if found.get(key) != value}
    if not lacking:
        return []
    return [Deviation(name, f"{name} {lacking}", f"{name} { {key: found.get(key) for key in lacking} }")]


def _is_image(
    container: Mapping[str, Any], image: str, machine: Mapping[str, Any], builder: Mapping[str, Any]
) -> bool:
    """Tell whether a container runs `image`, by what the engines of its machine and of the builder tell.

    The engine of the machine may know the image by this name. Else the digest by which the container was run tells:
    `image` has it, or the builder's engine does. Where neither does, the label of the container has to do.
    """
    if own := _ids(image, machine, container):
        return container["image_id"] in own
    if "@" in image:
        return bool(container["image"].partition("@")[2] == image.partition("@")[2])
    pushed = _ids(image, builder, container)
    digests = {
        name.rpartition("@")[2]
        for name, known in builder.get("images", {}).items()
        if known in pushed and "@" in name
    }
    if digests:
        return "@" in container["image"] and container["image"].rpartition("@")[2] in digests
    return image in (container["labels"].get(IMAGE_LABEL), container["image"])


def _ids(image: str, machine: Mapping[str, Any], container: Mapping[str, Any]) -> set[str]:
    """Return the ids that `image` has on a machine, with or without a registry's name before it.

    One that was made after the container is left out: a builder that had lost the image has made it anew, by the same
    recipe, and what was run from the one before is as good.
    """
    made = machine.get("images_made", {})
    return {
        known
        for name, known in machine.get("images", {}).items()
        if (name == image or name.endswith(f"/{image}"))
        and made.get(known, 0) <= container.get("created", math.inf)
    }


def published_ports(container: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the addresses and ports of its machine that a container publishes, running or not."""
    for entry in container["settings"].get("ports", ()):
        address, _, port = entry.rpartition(":")[0].rpartition(":")
        if port:  # else the engine chose one
            yield address.strip("[]"), int(port)


def containers_of(machine: Mapping[str, Any], role: str) -> list[str]:
    """Return the names of a machine's containers whose label flotilla.role is `role`, sorted."""
    return sorted(
        name
        for name, container in machine["containers"].items()
        if container["labels"].get("flotilla.role") == role
    )

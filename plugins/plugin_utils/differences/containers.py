"""Runs on the controller: the containers that hosts are to run, against those that they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import (
    different_settings,
    wanted_settings,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import (
    SITE,
    Difference,
    Fleet,
    FoundContainer,
    FoundMachine,
    Service,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import image_builder

IMAGE_LABEL = "flotilla.image"
"""The label that holds the name of a service's image."""


class Deviation(NamedTuple):
    """In what a container is not as its service: a setting, or "missing", "stopped", "image", "labels" or "files"."""

    name: str
    wanted: str
    found: str


def container_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the containers of Nginx, the registry and keepalived that differ from what the roles want."""
    builder = image_builder(fleet.groups)
    images = fleet.found(builder)["images"] if builder in fleet.present else {}
    for host in fleet.present:
        machine = fleet.found(host)
        for wanted in fleet.wanted(host):
            for service in wanted["services"]:
                if deviations := container_deviations(machine, service, images):
                    yield container_difference(host, service["name"], deviations)


def container_difference(host: str, name: str, deviations: list[Deviation]) -> Difference:
    """Return the difference of a container."""
    names = {deviation.name for deviation in deviations}
    verb = "run" if "missing" in names else "start" if names == {"stopped"} else "replace"
    return {
        "host": host,
        "thing": f"container {name}",
        "wanted": ", ".join(deviation.wanted for deviation in deviations),
        "found": ", ".join(deviation.found for deviation in deviations),
        "mended_by": SITE,
        "change": f"{verb} the container {name}",
    }


def container_deviations(
    machine: FoundMachine, service: Service, builder_images: Mapping[str, str] | None = None
) -> list[Deviation]:
    """Return in what the container of `service` on `machine` is not as wanted, sorted by name.

    `builder_images` are the builder's, by which a node knows the digests of an image that has a tag.

    Raises:
        ValueError: when the memory limit of the service is no size.
    """
    found = machine["containers"].get(service["name"])
    if found is None:
        return [Deviation("missing", "running", "missing")]
    wanted = wanted_settings(service)
    deviations = [
        Deviation(name, f"{name} {wanted[name]}", f"{name} {found['settings'].get(name)}")  # type: ignore[literal-required]
        for name in different_settings(found["settings"], wanted)
    ]
    if not found["running"]:
        deviations.append(Deviation("stopped", "running", "stopped"))
    if not _is_image(found, service["image"], machine["images"], builder_images or {}):
        deviations.append(Deviation("image", f"image {service['image']}", f"image {found['image']}"))
    labels = {name: found["labels"].get(name) for name in service["labels"]}
    if labels != dict(service["labels"]):
        deviations.append(Deviation("labels", f"labels {dict(service['labels'])}", f"labels {labels}"))
    if service.get("reads_files_at_start") and found["newer_files"]:
        deviations.append(Deviation("files", "its files read", "files newer than its start"))
    return sorted(deviations)


def _is_image(
    container: FoundContainer, image: str, images: Mapping[str, str], builder_images: Mapping[str, str]
) -> bool:
    """Tell whether a container runs `image`, by what the engines tell.

    The engine of the machine may know the image by this name; else the builder's may, and tells its digests. Where
    neither does, the label that the container was given has to do.
    """
    own = _ids(image, images)
    if own:
        return container["image_id"] in own
    pushed = _ids(image, builder_images)
    digests = {
        name.rpartition("@")[2] for name, known in builder_images.items() if known in pushed and "@" in name
    }
    if digests:
        return "@" in container["image"] and container["image"].rpartition("@")[2] in digests
    return image in (container["labels"].get(IMAGE_LABEL), container["image"])


def _ids(image: str, images: Mapping[str, str]) -> set[str]:
    """Return the ids of `image` among `images`, with or without a registry's name before it."""
    return {known for name, known in images.items() if name == image or name.endswith(f"/{image}")}

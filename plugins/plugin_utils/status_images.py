"""Runs on the controller: how old the images are that a fleet runs, and what Debian has that is newer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import IMAGE_LABEL
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import image_builder

UNKNOWN_BASE = "the endpoints' base"
"""Stands for the image that the live release was built on, where its build named none."""

UPDATE = "playbooks/update.yml"
DAY = 86400
LISTED = 4
"""How many packages a line names. The JSON has all."""


class ImageStatus(TypedDict):
    """An image of Debian packages that the fleet runs. Times are seconds since the epoch."""

    made: float | None
    """When it was made; None where the builder does not tell."""
    recorded: bool
    """Whether the versions of its packages are known."""
    looked: float | None
    """When Debian was last asked for newer packages; None where it never was."""
    newer: list[str]
    """The packages that Debian had in newer versions then."""


def image_statuses(
    hostvars: HostVars, groups: Groups, reached: Sequence[str]
) -> dict[str, ImageStatus] | None:
    """Return the images that run on the hosts that were reached, by name; None where the builder was not reached."""
    builder = image_builder(groups)
    if builder not in reached:
        return None
    made_there = hostvars[builder]["flotilla_machine"]
    known = made_there.get("debian_images", {})
    tags = {digest: tag for tag, digest in made_there.get("published", {}).items()}
    images = {
        image for host in reached for image in _images(hostvars[host].get("flotilla_machine", {}), tags)
    }
    return {image: _status(known.get(image.replace("/", "-").replace(":", "-"))) for image in sorted(images)}


def _images(machine: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[str]:
    """Yield the images of Debian packages that the containers of a machine run; an endpoint's is its base.

    `tags` are the builder's, by digest: they name the image of a container without a label, as an earlier version ran.
    """
    for container in machine.get("containers", {}).values():
        if not container["running"]:
            continue
        if container["labels"].get("flotilla.role") == "endpoint":
            yield machine.get("bases", {}).get(container["image"], UNKNOWN_BASE)
        elif image := container["labels"].get(IMAGE_LABEL):
            yield image
        elif "@" not in (reference := _tag(container, tags)) and "flotilla/" in reference:
            yield reference[reference.index("flotilla/") :]


def _tag(container: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    reference: str = container.get("image", "")
    return tags.get(reference, reference)


def _status(found: Mapping[str, Any] | None) -> ImageStatus:
    if found is None:
        return {"made": None, "recorded": False, "looked": None, "newer": []}
    looked = found["looked"] or None
    return {
        "made": found["made"],
        "recorded": found["recorded"],
        "looked": looked,
        "newer": list(found["newer"]),
    }


def image_lines(images: Mapping[str, ImageStatus] | None, now: float) -> list[str]:
    """Return a line for each image: its age, and what Debian had when it was asked."""
    if images is None:
        return ["images: not looked at, as the builder was not reached"]
    return [
        f"image {name}: made {_age(image['made'], now)}, {_packages(image)}" for name, image in images.items()
    ]


def _age(made: float | None, now: float) -> str:
    if made is None:
        return "at a time that the builder does not know"
    days = int((now - made) // DAY)
    return f"{days} days ago" if days > 1 else "yesterday" if days == 1 else "within a day"


def _packages(image: ImageStatus) -> str:
    if not image["recorded"]:
        return f"the versions of its packages are not recorded: {UPDATE} makes it anew"
    if image["looked"] is None:
        return f"Debian was not asked for newer packages: {UPDATE} --check asks"
    at, newer = f"{datetime.fromtimestamp(image['looked'], UTC):%Y-%m-%d %H:%MZ}", image["newer"]
    if not newer:
        return f"no newer packages at {at}"
    more = f" and {len(newer) - LISTED} more" if len(newer) > LISTED else ""
    return f"newer packages at {at}: {', '.join(newer[:LISTED])}{more}: {UPDATE}"

"""Runs on the controller: the images that releases need, against those that nodes have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.registry import lost_image
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import (
    images_in_use,
    kept_releases,
    needed_images,
    unneeded_images,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars, Machine, State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import image_builder


def image_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the images that a node's release needs and its machine lacks, and those that no release needs."""
    state = fleet.state
    if state is None or state["live"] is None:
        return
    yield from _registry_differences(fleet, state)
    wanted = needed_images(state)
    kept = [release["reference"] for release in kept_releases(state)]
    pushed_to = fleet.registries()[1]
    for host in dict.fromkeys(map(fleet.first_host, fleet.members("model_nodes"))):
        found = fleet.found(host)
        if not found["engine"]:
            continue
        for image in wanted:
            if image in found["images"]:
                continue
            yield {
                "host": host,
                "thing": f"image {image}",
                "wanted": "in the engine",
                "found": "missing",
                "mended_by": SITE,
                "change": f"pull the image {image}",
            }
        used = images_in_use(cast("Machine", found))
        for image in unneeded_images(found["images"], [*kept, *used], pushed_to):
            yield {
                "host": host,
                "thing": f"image {image}",
                "wanted": "removed: no release needs it",
                "found": "in the engine",
                "mended_by": SITE,
                "change": f"remove the image {image}",
            }


def _registry_differences(fleet: Fleet, state: State) -> Iterator[Difference]:
    """Yield that the builder's registry does not hold the live release's image."""
    if lost_image(state, cast("HostVars", fleet.hostvars), fleet.groups, fleet.present):
        yield {
            "host": image_builder(fleet.groups),
            "thing": "registry",
            "wanted": "the live release's image held",
            "found": "missing",
            "mended_by": SITE,
            "change": "make the image and start the live release anew from it",
        }

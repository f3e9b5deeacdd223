"""Runs on the controller: what the builder's registry lacks, and which machines have a registry of their own left."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import containers_of
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars, Machine, State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import image_builder, machine

REGISTRY = "registry"
"""The value of the label flotilla.role of the registry's containers."""


def lost_image(state: State, hostvars: HostVars, groups: Groups, present: Sequence[str]) -> list[str]:
    """Return, as a reason to restage, that the builder's registry lacks the image of the live release.

    The builder is then another machine than the one that built it, or an empty one. What runs goes on, but no node
    could be given the release any more.
    """
    live, builder = state["live"], image_builder(groups)
    if live is None or builder not in present:
        return []
    held = hostvars[builder]["flotilla_machine"].get("registry")
    digest = live["reference"].partition("@")[2]  # in check mode a new release has none
    if held is None or not digest or digest in held:
        return []
    return [f"{builder}: its registry does not hold the image of release {live['id']}"]


def left_registry(hostvars: HostVars, groups: Groups, place: str, found: Machine) -> list[str]:
    """Return the containers of the registry that a machine, `place`, still has though another one is the builder."""
    if place == machine(hostvars, image_builder(groups)):
        return []
    return containers_of(found, REGISTRY)

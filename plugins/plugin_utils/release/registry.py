"""Runs on the controller: what the builder's registry lacks, and which machines have a registry of their own left."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import containers_of
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import machine_of
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars, State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import image_builder, machine, machines

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


def former_builders(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> list[str]:
    """Return the first host of each machine that has a registry and is not the builder's any more."""
    builder = machine(hostvars, image_builder(groups))
    hosts = [entry["host"] for entry in machines(hostvars, present) if entry["host"] == entry["first"]]
    return [
        host
        for host in hosts
        if machine(hostvars, host) != builder and containers_of(machine_of(hostvars, host), REGISTRY)
    ]

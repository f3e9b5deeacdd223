"""Runs on the controller: what a release is made of, and when two are the same."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import kept_releases
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    HostVars,
    Release,
    SettingValue,
    State,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import host_address, read_once

CONTAINER_SETTINGS = (
    "workers",
    "threads",
    "cpus",
    "memory",
    "pids_limit",
    "body_limit",
    "row_limits",
    "fast_path",
    "log_sample",
    "capture_sample",
    "capture_directory",
    "capture_bytes",
)
"""The settings of role model_endpoint, without the role's name, that make the container what it is.

Where it publishes, its `address` and `port`, makes it as well; the address has a default of its own."""

OWN_SETTINGS = ("address",)
"""The settings that are never common: a node that a release does not know has an address all the same."""


def container_settings(
    hostvars: HostVars, nodes: Sequence[str], recipe: str
) -> dict[str, dict[str, SettingValue]]:
    """Return what makes each node's container, apart from its image: by node, setting and value.

    `recipe` is what container_recipe returned.
    """
    variables = read_once(hostvars, nodes)
    return {
        node: {name: wanted_setting(variables, node, name) for name in (*CONTAINER_SETTINGS, "port")}
        | {"address": host_address(variables, node, "model_endpoint_address"), "recipe": recipe}
        for node in nodes
    }


def wanted_setting(hostvars: HostVars, node: str, name: str) -> SettingValue:
    """Return a setting of role model_endpoint as a release keeps it: a mapping as JSON."""
    value = setting(hostvars, node, f"model_endpoint_{name}")
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else value


def new_release(image: str, settings: Mapping[str, Mapping[str, SettingValue]], now: float) -> Release:
    """Return the release made of the image content `image` and the nodes' `settings`; its id is their hash."""
    common = {
        name: json.loads(Counter(json.dumps(own[name]) for own in settings.values()).most_common(1)[0][0])
        for name in next(iter(settings.values()), {})
        if name not in OWN_SETTINGS
    }
    differing = {node: _differing(own, common) for node, own in settings.items()}
    nodes = {node: own for node, own in sorted(differing.items()) if own}
    content = {"image": image, "settings": {"common": common, "nodes": nodes}}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return {
        "id": digest[:12],
        "image": image,
        "reference": "",
        "settings": {"common": common, "nodes": nodes},
        "since": int(now),
    }


def _differing(
    own: Mapping[str, SettingValue], common: Mapping[str, SettingValue]
) -> dict[str, SettingValue]:
    """Return those of a node's settings that are not the common ones."""
    return {name: value for name, value in own.items() if name not in common or value != common[name]}


def release_settings(release: Release, node: str) -> dict[str, SettingValue]:
    """Return the settings of `node` in `release`; a node that the release does not know has the common ones."""
    settings = release["settings"]
    return {**settings["common"], **settings["nodes"].get(node, {})}


def same_content(release: Release | None, wanted: Release, known: Iterable[str]) -> bool:
    """Tell whether `release` is what is wanted, on those of the `known` nodes that the inventory still has.

    A node that joins, or leaves, makes no release, whatever its own settings are.
    """
    return (
        release is not None
        and release["image"] == wanted["image"]
        and all(release_settings(release, node) == release_settings(wanted, node) for node in known)
    )


def with_unique_id(wanted: Release, state: State) -> Release:
    """Return `wanted`, under another id if a release of other content has its id.

    Another content has the same id where a release has learned the settings of nodes that joined later.
    """
    kept = {release["id"]: release for release in kept_releases(state)}
    namesake = kept.get(wanted["id"])
    if namesake is None or namesake["settings"] == wanted["settings"]:
        return wanted
    return with_new_id(wanted, state)


def with_new_id(wanted: Release, state: State) -> Release:
    """Return `wanted` under an id that no release of `state` has, so that its containers are told from theirs."""
    digest = hashlib.sha256(f"{wanted['id']} {state['serial']}".encode()).hexdigest()
    return {**wanted, "id": digest[:12]}


def add_nodes(release: Release, wanted: Release, nodes: Sequence[str]) -> None:
    """Give `release` the settings that `nodes`, which join, have in `wanted`, so that it keeps them."""
    for node in nodes:
        common = release["settings"]["common"]
        differing = _differing(release_settings(wanted, node), common)
        release["settings"]["nodes"].pop(node, None)
        if differing:
            release["settings"]["nodes"][node] = differing

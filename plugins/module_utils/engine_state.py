"""Runs on hosts: reads what the Docker engine has of the fleet, for module machine_state."""

from __future__ import annotations

import calendar
import json
import time
import urllib.parse
from typing import Any

from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import (
    ENDPOINTS_NETWORK,
    has_newer_files,
    inspected_settings,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.docker_engine import Engine
from ansible_collections.flotilla.fleet.plugins.module_utils.interfaces import bridge_address


def _seconds(moment: str) -> int:
    """Return a time that the engine tells, such as 2025-01-01T12:00:00.123456789Z, in seconds since the epoch."""
    return calendar.timegm(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S"))


def fleet_containers(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return the containers with a label flotilla.role by name, as module machine_state returns them."""
    filters = urllib.parse.quote(json.dumps({"label": ["flotilla.role"]}))
    found = {}
    for entry in engine.get(f"/containers/json?all=1&filters={filters}"):
        try:
            container = engine.get(f"/containers/{entry['Id']}/json")
        except FileNotFoundError:  # removed since it was listed
            continue
        state = container["State"]
        found[container["Name"].lstrip("/")] = {
            "running": state["Running"] and not state.get("Restarting"),
            "health": (state.get("Health") or {}).get("Status", ""),
            "image": container["Config"]["Image"],
            "image_id": container["Image"],
            "labels": container["Config"]["Labels"],
            "restarts": container["RestartCount"],
            "started": state["StartedAt"],
            "created": _seconds(container["Created"]),
            "settings": inspected_settings(container),
            "newer_files": has_newer_files(container),
        }
    return found


BASE_LABEL = "flotilla.base"
"""The label of an endpoint's image that holds the name of the image that it was built on."""


def fleet_images(engine: Engine) -> dict[str, Any]:
    """Return the results of module machine_state about the engine's images.

    An image that has several digests in one repository has none in C(published): only the registry can tell which of
    them it still holds. An image is in C(bases) where its build has named what it was built on.
    """
    ids = {}
    published = {}
    made = {}
    bases = {}
    for image in engine.get("/images/json"):
        tags = [tag for tag in image["RepoTags"] or () if "flotilla/" in tag]
        digests = [digest for digest in image["RepoDigests"] or () if "flotilla/" in digest]
        ids.update(dict.fromkeys([*tags, *digests], image["Id"]))
        if tags or digests:
            made[image["Id"]] = image["Created"]
        if base := (image.get("Labels") or {}).get(BASE_LABEL):
            bases.update(dict.fromkeys([*tags, *digests], base))
        for tag in tags:
            own = [digest for digest in digests if digest.startswith(f"{tag.rpartition(':')[0]}@")]
            if len(own) == 1:
                published[tag] = own[0]
    return {"images": dict(sorted(ids.items())), "images_made": made, "published": published, "bases": bases}


def fleet_network(engine: Engine) -> dict[str, Any]:
    """Return the network of the endpoints' containers, as module machine_state returns it."""
    try:
        network = engine.get(f"/networks/{ENDPOINTS_NETWORK}")
    except FileNotFoundError:
        return {}
    subnets = [entry.get("Subnet", "") for entry in network["IPAM"]["Config"] or ()]
    return {"subnet": ", ".join(subnets), "options": network["Options"] or {}}


def engine_state(engine: Engine) -> dict[str, Any]:
    """Return the engine's part of the result, in the same form when no engine answers."""
    if not engine.answers():
        empty = {
            "bridge": "",
            "network": {},
            "containers": {},
            "images": {},
            "images_made": {},
            "published": {},
            "bases": {},
        }
        without = {"engine_version": "", "engine_folder": "", "engine_firewall": "", "selinux": False}
        return {"engine": False, **without, **empty}
    images, info = fleet_images(engine), engine.get("/info")
    return {
        "engine": True,
        "engine_version": engine.version,
        "engine_folder": info["DockerRootDir"],
        "engine_firewall": (info.get("FirewallBackend") or {}).get("Driver", ""),
        "selinux": "name=selinux" in (info.get("SecurityOptions") or ()),
        "bridge": bridge_address(),
        "network": fleet_network(engine),
        "containers": fleet_containers(engine),
        **images,
    }

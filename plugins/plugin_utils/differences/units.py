"""Runs on the controller: what systemd is to start with a machine, against what it starts."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import (
    SITE,
    Difference,
    Fleet,
    FoundMachine,
)

ENGINE_FILE = "/lib/systemd/system/docker.service"
"""Distributions' engines have it; one that was installed otherwise may be started otherwise."""

ENGINE_LINK = "/etc/systemd/system/multi-user.target.wants/docker.service"


def unit_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the machines whose engine systemd does not start with the machine."""
    for host in fleet.machines:
        if engine_not_enabled(fleet.found(host)):
            yield {
                "host": host,
                "thing": "unit docker.service",
                "wanted": "started with the machine",
                "found": "not enabled",
                "mended_by": SITE,
                "change": "enable the unit docker.service",
            }


def engine_not_enabled(found: FoundMachine) -> bool:
    """Tell whether systemd has the engine's unit, and does not start it with the machine."""
    there = found["systemd"] and found["engine"] and ENGINE_FILE in found["files"]
    return there and ENGINE_LINK not in found["links"]

"""Runs on the controller: what systemd is to start with a machine, against what it starts."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.firewall import guarded_machines
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import (
    SITE,
    Difference,
    Fleet,
    FoundMachine,
)

WANTS = "/etc/systemd/system/multi-user.target.wants"
ENGINE_FILE = "/lib/systemd/system/docker.service"
"""Distributions' engines have it; one that was installed otherwise may be started otherwise."""
ENGINE_UNIT, FIREWALL_UNIT = "docker.service", "flotilla-firewall.service"


def unit_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the units that systemd does not start with the machine: the engine's, and the firewall's."""
    guarded = guarded_machines(fleet)
    for host in fleet.machines:
        found = fleet.found(host)
        units = [ENGINE_UNIT] if engine_not_enabled(found) else []
        if host in guarded and f"{WANTS}/{FIREWALL_UNIT}" not in found["links"]:
            units.append(FIREWALL_UNIT)
        for unit in units:
            yield {
                "host": host,
                "thing": f"unit {unit}",
                "wanted": "started with the machine",
                "found": "not enabled",
                "mended_by": SITE,
                "change": f"enable the unit {unit}",
            }


def engine_not_enabled(found: FoundMachine) -> bool:
    """Tell whether systemd has the engine's unit, and does not start it with the machine."""
    there = found["systemd"] and found["engine"] and ENGINE_FILE in found["files"]
    return there and f"{WANTS}/{ENGINE_UNIT}" not in found["links"]

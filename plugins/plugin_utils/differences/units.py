"""Runs on the controller: what systemd is to start with a machine, against what it starts."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.firewall import guarded_machines
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference, Fleet

WANTS = "/etc/systemd/system/multi-user.target.wants"
ENGINE_UNIT, FIREWALL_UNIT = "docker.service", "flotilla-firewall.service"


def unit_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the units that systemd does not start with the machine: the engine's, and the firewall's."""
    guarded = guarded_machines(fleet)
    for host in fleet.machines:
        found = fleet.found(host)
        units = [ENGINE_UNIT] if found["systemd"] and found["engine"] else []
        units += [FIREWALL_UNIT] if host in guarded else []
        for unit in units:
            if f"{WANTS}/{unit}" not in found["links"]:
                yield {
                    "host": host,
                    "thing": f"unit {unit}",
                    "wanted": "started with the machine",
                    "found": "not enabled",
                    "mended_by": SITE,
                    "change": f"enable the unit {unit}",
                }

"""Runs on the controller: each machine's engine, clock and disks against what they are to be."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import setting

OLDEST_ENGINE = (20, 10)
"""The oldest engine that Flotilla is tested with, which is Debian 12's."""


def unreached_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the hosts that could not be looked at."""
    for host in fleet.in_scope:
        if host not in fleet.present:
            yield {
                "host": host,
                "thing": "machine",
                "wanted": "inspected",
                "found": "not looked at",
                "mended_by": "",
                "change": "",
            }


def engine_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the machines whose engine does not answer, or is too old."""
    for host in fleet.machines:
        found = fleet.found(host)
        version = tuple(map(int, re.findall("[0-9]+", found["engine_version"])[:2]))
        if found["engine"] and (not version or version >= OLDEST_ENGINE):
            continue
        yield {
            "host": host,
            "thing": "Docker engine",
            "wanted": f"version {'.'.join(map(str, OLDEST_ENGINE))} or later",
            "found": f"version {found['engine_version']}" if found["engine"] else "no answer",
            "mended_by": f"the upgrade of the Docker engine on {host}" if found["engine"] else SITE,
            "change": "" if found["engine"] else "start a Docker engine",
        }


def clock_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the machines whose clock is off by more than docker_engine_clock_seconds.

    A machine answers at some time between the controller's question and now, so that only what lies outside is off.
    """
    for host in fleet.machines:
        found, most = fleet.found(host), float(setting(fleet.hostvars, host, "docker_engine_clock_seconds"))
        behind, ahead = found["asked_at"] - found["clock"], found["clock"] - fleet.now
        if max(behind, ahead) > most:
            yield {
                "host": host,
                "thing": "clock",
                "wanted": f"within {most:g} s of the controller's",
                "found": f"{ahead:.0f} s ahead" if ahead > behind else f"{behind:.0f} s behind",
                "mended_by": f"timedatectl set-ntp true on {host}",
                "change": "",
            }


def disk_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the disks that have less free than docker_engine_free_percent."""
    for host in fleet.machines:
        least = float(setting(fleet.hostvars, host, "docker_engine_free_percent"))
        for disk in fleet.found(host)["disks"]:
            free = 100 * disk["free"] / disk["size"] if disk["size"] else 100.0
            if free < least:
                yield {
                    "host": host,
                    "thing": f"disk of {' and '.join(disk['folders'])}",
                    "wanted": f"{least:g} % free",
                    "found": f"{free:.1f} % free, {disk['free'] / 1e9:.1f} GB",
                    "mended_by": "",
                    "change": "",
                }

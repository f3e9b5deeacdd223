"""Runs on the controller: the containers that hosts are to run, against those that they have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import (
    Deviation,
    container_deviations,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import image_builder


def service_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the containers of Nginx, the registry and keepalived that differ from what the roles want."""
    name = image_builder(fleet.groups)
    builder = fleet.found(name) if name in fleet.present else None
    for host in fleet.present:
        machine = fleet.found(host)
        for wanted in fleet.wanted(host):
            for service in wanted["services"]:
                if deviations := container_deviations(machine, service, builder):
                    yield container_difference(host, service["name"], deviations)


def container_difference(host: str, name: str, deviations: Sequence[Deviation]) -> Difference:
    """Return the difference of a container."""
    names = {deviation.name for deviation in deviations}
    action = "run" if "missing" in names else "start" if names == {"stopped"} else "replace"
    return {
        "host": host,
        "thing": f"container {name}",
        "wanted": ", ".join(deviation.wanted for deviation in deviations),
        "found": ", ".join(deviation.found for deviation in deviations),
        "mended_by": SITE,
        "change": f"{action} the container {name}",
    }

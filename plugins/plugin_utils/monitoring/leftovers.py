"""Runs on the controller: the machines that still collect or tell metrics though the inventory no longer wants that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    machine,
    machines,
    monitoring_host,
)

COLLECTING = frozenset({"prometheus", "alertmanager", "fleet_page"})
TELLING = frozenset({"node_exporter"})
"""The values of the label flotilla.role of what belongs to the monitoring host alone, and to every machine."""


def unmonitored_hosts(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Groups, present: Sequence[str]
) -> list[str]:
    """Return the first host of each machine that has a container which collects or tells metrics and should not."""
    monitor = monitoring_host(groups)
    own = machine(hostvars, monitor) if monitor else ""
    found = []
    for entry in machines(hostvars, present):
        host = entry["first"]
        if entry["host"] != host or machine(hostvars, host) == own:
            continue
        containers = hostvars[host].get("flotilla_machine", {}).get("containers", {}).values()
        roles = {container["labels"].get("flotilla.role") for container in containers}
        if not roles.isdisjoint(COLLECTING if monitor else COLLECTING | TELLING):
            found.append(host)
    return found

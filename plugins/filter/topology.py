"""Runs on the controller: registers the filters of plugin_utils/topology.py."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    container_name,
    endpoint_name,
    fleet_hosts,
    holds_address,
    host_address,
    image_builder,
    machine,
    machines,
    monitoring_host,
    other_slot,
    peer_addresses,
    service_hosts,
    standby_first,
    status_port,
    tls_port,
    virtual_address,
    with_port,
)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {
            "container_name": container_name,
            "endpoint_name": endpoint_name,
            "fleet_hosts": fleet_hosts,
            "holds_address": holds_address,
            "host_address": host_address,
            "image_builder": image_builder,
            "machine": machine,
            "machines": machines,
            "monitoring_host": monitoring_host,
            "other_slot": other_slot,
            "peer_addresses": peer_addresses,
            "service_hosts": service_hosts,
            "standby_first": standby_first,
            "status_port": status_port,
            "tls_port": tls_port,
            "virtual_address": virtual_address,
            "with_port": with_port,
        }

"""Runs on the controller: the network of the endpoints' containers, against what machines' engines have."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.firewall import BRIDGE

SUBNET = "169.254.83.0/24"
OPTIONS = {
    "com.docker.network.bridge.name": BRIDGE,
    "com.docker.network.bridge.enable_icc": "false",
    "com.docker.network.bridge.enable_ip_masquerade": "false",
}
"""As role model_endpoint makes the network; a unit test holds both together."""


def network_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the networks of another subnet or other options, which let containers out, or past the firewall.

    No run makes a network anew, because all containers in it would lose their connections.
    """
    for host in fleet.machines:
        network = fleet.found(host)["network"]
        if not network:
            continue
        present = {"subnet": network["subnet"], **network["options"]}
        wanted = {"subnet": SUBNET, **OPTIONS}
        other = [name for name, value in wanted.items() if present.get(name) != value]
        if other:
            yield {
                "host": host,
                "thing": "network flotilla",
                "wanted": ", ".join(f"{name} {wanted[name]}" for name in other),
                "found": ", ".join(f"{name} {present.get(name, 'missing')}" for name in other),
                "mended_by": f"docker network rm flotilla on {host}, once its nodes are drained and their containers "
                "removed, and playbooks/undrain.yml",
                "change": "",
            }

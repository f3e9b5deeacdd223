"""Runs on the controller: registers the filters of plugin_utils/certificates.py and authorities.py."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.authorities import (
    backup_refusal,
    may_begin,
    refusal,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import (
    balancer_certificates,
    fleet_certificates,
    frontend_names,
    machine_certificates,
)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {
            "authority_refusal": refusal,
            "backup_refusal": backup_refusal,
            "balancer_certificates": balancer_certificates,
            "fleet_certificates": fleet_certificates,
            "frontend_names": frontend_names,
            "machine_certificates": machine_certificates,
            "may_begin_authority": may_begin,
        }

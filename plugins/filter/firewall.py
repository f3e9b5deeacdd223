"""Runs on the controller: registers the filters of plugin_utils/firewall.py."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.firewall import (
    firewall_differences,
    firewall_rules,
    wanted_firewall,
)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {
            "firewall_differences": firewall_differences,
            "firewall_rules": firewall_rules,
            "wanted_firewall": wanted_firewall,
        }

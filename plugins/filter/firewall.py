"""Runs on the controller: registers the filter of plugin_utils/firewall.py."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.firewall import guarded_ports


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {"guarded_ports": guarded_ports}

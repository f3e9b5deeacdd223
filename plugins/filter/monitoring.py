"""Runs on the controller: registers the filters of plugin_utils/monitoring."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.endpoints import scraped_endpoints


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {"scraped_endpoints": scraped_endpoints}

"""Runs on the controller: makes plugin_utils/monitoring/receivers.py filters."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.receivers import (
    alert_receivers,
    alert_routes,
)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {"alert_receivers": alert_receivers, "alert_routes": alert_routes}

"""Runs on the controller: makes plugin_utils/logs.py filters."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.logs import log_report, logs_step


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {"log_report": log_report, "logs_step": logs_step}

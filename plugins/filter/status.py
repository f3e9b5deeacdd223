"""Runs on the controller: registers the filters of status.yml and history.yml."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.status import status_step
from ansible_collections.flotilla.fleet.plugins.plugin_utils.status_table import (
    status_table,
    status_verdict,
)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {
            "status_step": status_step,
            "status_table": status_table,
            "status_verdict": status_verdict,
        }

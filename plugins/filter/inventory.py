"""Runs on the controller: makes the checks of the inventory, and the reading of its settings, filters."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.check import inventory_errors
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.command_line import refused_options
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import setting


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {"inventory_errors": inventory_errors, "refused_options": refused_options, "setting": setting}

"""Runs on the controller: registers the filters of plugin_utils/differences."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.compare import differences_step
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.health import traffic_slots
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.sentences import check_step
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.units import engine_not_enabled


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {
            "check_step": check_step,
            "differences_step": differences_step,
            "engine_not_enabled": engine_not_enabled,
            "traffic_slots": traffic_slots,
        }

"""Runs on the controller: registers the filters of plugin_utils/systems.py."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.systems import (
    builder_step,
    engine_step,
    looked_for,
)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {
            "builder_step": builder_step,
            "engine_step": engine_step,
            "looked_for": lambda _: looked_for(),
        }

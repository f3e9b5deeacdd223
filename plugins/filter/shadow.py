"""Runs on the controller: makes plugin_utils/shadow.py filters."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.shadow import compare_shadows, shadow_lines


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {
            "compare_shadows": compare_shadows,
            "shadow_lines": shadow_lines,
        }

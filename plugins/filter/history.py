"""Runs on the controller: makes plugin_utils/history.py a filter."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.history import history_lines


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {"history_lines": history_lines}

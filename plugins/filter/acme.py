"""Runs on the controller: registers the filters of plugin_utils/acme.py."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.acme import keeper_files


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {"keeper_files": keeper_files}

"""Runs on the controller: registers the filters of plugin_utils/files.py."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import (
    file_states,
    files_hash,
    out_of_date,
)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {
            "file_states": file_states,
            "files_hash": files_hash,
            "out_of_date": out_of_date,
        }

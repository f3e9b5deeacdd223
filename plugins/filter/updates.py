"""Filters of the playbook that asks Debian for newer packages of images."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.updates import (
    image_recipes,
    update_lines,
    updates,
)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {
            "image_recipes": image_recipes,
            "update_lines": update_lines,
            "updates": updates,
        }

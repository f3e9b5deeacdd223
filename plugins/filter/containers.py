"""Filters that compare a machine's containers with the services that they are to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import (
    container_differences,
    containers_of,
    image_name,
    mounted,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.proxies import engine_proxy


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "container_differences": container_differences,
            "containers_of": containers_of,
            "engine_proxy": engine_proxy,
            "image_name": image_name,
            "mounted": mounted,
        }

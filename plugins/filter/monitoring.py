"""Runs on the controller: registers the filters of plugin_utils/monitoring."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.endpoints import scraped_endpoints
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.fleet_facts import (
    fleet_facts_files,
    models_at,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.fleet_metrics import (
    difference_metrics,
    fleet_metrics_step,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.page_files import page_files
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.programs import (
    differing_programs,
    rule_files,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.targets import target_files


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {
            "difference_metrics": difference_metrics,
            "differing_programs": differing_programs,
            "fleet_facts_files": fleet_facts_files,
            "fleet_metrics_step": fleet_metrics_step,
            "models_at": models_at,
            "page_files": page_files,
            "rule_files": rule_files,
            "scraped_endpoints": scraped_endpoints,
            "target_files": target_files,
        }

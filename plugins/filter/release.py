"""Runs on the controller: makes the steps of a release, plugin_utils/release, filters."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.backup import restore_step, save_step
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.given import given_settings
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.leftovers import without_containers
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.placement import (
    container_state,
    missing_container,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import published_addresses
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.service import (
    capture_folder,
    endpoint_service,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import (
    gets_traffic,
    is_live,
    kept_releases,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.commit import (
    commit_step,
    finish_step,
    forget_step,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.gate import (
    gate_step,
    probe_step,
    probed_endpoint,
    suspects_step,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import (
    found_state,
    present_balancers,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.plan import (
    baseline_step,
    packages_step,
    plan_step,
    with_reference,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.traffic import (
    apply_errors,
    ramp_step,
    rolling_step,
    rotate_step,
    share_step,
    sync_step,
    undo_step,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.watch import (
    answering_step,
    judge_step,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import (
    ramp_left,
    upstream_servers,
)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {
            "answering_step": answering_step,
            "apply_errors": apply_errors,
            "baseline_step": baseline_step,
            "capture_folder": capture_folder,
            "commit_step": commit_step,
            "container_state": container_state,
            "endpoint_service": endpoint_service,
            "finish_step": finish_step,
            "forget_step": forget_step,
            "found_state": found_state,
            "gate_step": gate_step,
            "gets_traffic": gets_traffic,
            "given_settings": given_settings,
            "is_live": is_live,
            "judge_step": judge_step,
            "kept_releases": kept_releases,
            "missing_container": missing_container,
            "packages_step": packages_step,
            "plan_step": plan_step,
            "present_balancers": present_balancers,
            "probe_step": probe_step,
            "probed_endpoint": probed_endpoint,
            "published_addresses": published_addresses,
            "ramp_left": ramp_left,
            "ramp_step": ramp_step,
            "restore_step": restore_step,
            "rolling_step": rolling_step,
            "rotate_step": rotate_step,
            "save_step": save_step,
            "share_step": share_step,
            "suspects_step": suspects_step,
            "sync_step": sync_step,
            "undo_step": undo_step,
            "upstream_servers": upstream_servers,
            "with_reference": with_reference,
            "without_containers": without_containers,
        }

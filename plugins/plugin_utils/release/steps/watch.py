"""Runs on the controller: the step that judges a release by the answers it gives."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import (
    facts_of,
    present_balancers,
    release_settings_of,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars, Watched
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups
from ansible_collections.flotilla.fleet.plugins.plugin_utils.watch import Limits, Sample, judge, merge_samples


def samples_of(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> Sample:
    """Return what the load balancers' access logs said when they were read last, as one sample."""
    balancers = present_balancers(hostvars, groups, present)
    return merge_samples(hostvars[balancer]["release_access_log"]["sample"] for balancer in balancers)


def _sample_before(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> Sample:
    """Return what the access logs said before the flip, as one sample."""
    balancers = present_balancers(hostvars, groups, present)
    return merge_samples(hostvars[balancer]["release_log_before"]["sample"] for balancer in balancers)


def judge_step(hostvars: HostVars, groups: Groups, present: Sequence[str], number: int) -> Watched:
    """Judge the target by the access logs that have just been read, at the share of the plan's step `number`."""
    facts, settings = facts_of(hostvars, present), release_settings_of(hostvars, groups)
    plan = facts["release_plan"]
    assert plan["target"] is not None
    percent = plan["steps"][number]["percent"]
    limits: Limits = {
        "min_requests": settings["watch_min_requests"],
        "failure_points": settings["watch_failure_points"],
        "p95_factor": settings["watch_p95_factor"],
        "p95_floor": settings["watch_p95_floor"],
    }
    # Once the release has all the traffic, the one before is judged by what it did until then.
    before = _sample_before(hostvars, groups, present) if percent >= 100 else None
    sample = samples_of(hostvars, groups, present)
    found = judge([sample], limits, plan["baseline"]["live_slot"], plan["target_slot"], before)
    fails = found["verdict"] == "worse" or (
        found["verdict"] == "too few" and settings["watch_too_few"] == "return"
    )
    failure = f"release {plan['target']['id']} at {percent} %: {found['reason']}" if fails else ""
    return {**found, "failure": failure}

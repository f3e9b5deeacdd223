"""Runs on the controller: the steps that watch a release: how it does, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.answers.compare import (
    Allowance,
    Compared,
    compare,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.answers.counts import answers_between
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import (
    facts_of,
    present_balancers,
    release_settings_of,
    state_of,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import upstream_servers
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    AnsweringEndpoint,
    Facts,
    HostVars,
    ReleaseSettings,
    Watched,
)
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


def answering_step(
    hostvars: HostVars, groups: Groups, present: Sequence[str], number: int
) -> list[AnsweringEndpoint]:
    """Return the endpoints whose answers are compared at the share of the plan's step `number`, of both releases."""
    facts, settings = facts_of(hostvars, present), release_settings_of(hostvars, groups)
    if settings["watch_answers"] is None or _not_random(
        settings, facts["release_plan"]["steps"][number]["percent"]
    ):
        return []
    servers = upstream_servers(hostvars, groups["model_nodes"], state_of(hostvars, present))
    return [
        {"name": server["name"], "slot": slot, "address": server["address"], "port": server["port"]}
        for slot, of_slot in servers.items()
        for server in of_slot
        if not server["down"]
    ]


def _not_random(settings: ReleaseSettings, percent: float) -> str:
    """Return why what two releases answer can't be compared at this share of the traffic; empty when it can.

    Only where chance chooses the release, request by request, do both answer the same traffic.
    """
    if percent >= 100:
        return (
            "the live release gets no requests any more to compare with; a share below 100 % before "
            "(release_canary_steps) lets both answer the same traffic"
        )
    if settings["canary_key"]:
        return (
            "each client stays with one release (release_canary_key), so the two releases do not answer the same "
            "clients"
        )
    return ""


def _compared(facts: Facts, settings: ReleaseSettings, number: int) -> Compared:
    """Return how the target's answers differ from the live release's, at the plan's step `number`."""
    points, plan = settings["watch_answers"], facts["release_plan"]
    if points is None:
        return {"lines": [], "fault": ""}
    if reason := _not_random(settings, plan["steps"][number]["percent"]):
        return {"lines": [f"answers are not judged: {reason}"], "fault": ""}
    target, live = plan["target"], plan["baseline"]["live"]
    assert target is not None
    assert live is not None
    begun, now = (
        facts["release_answers_begun"].get("readings", []),
        facts["release_answers"].get("readings", []),
    )
    allowance = Allowance(
        points,
        settings["watch_min_requests"],
        sum(step["polls"] for step in plan["steps"] if step["percent"] < 100),
    )
    return compare(
        answers_between(begun, now, plan["baseline"]["live_slot"], live["id"]),
        answers_between(begun, now, plan["target_slot"], target["id"]),
        allowance,
    )


def judge_step(hostvars: HostVars, groups: Groups, present: Sequence[str], number: int) -> Watched:
    """Judge the target by what has just been read of both releases, at the share of the plan's step `number`."""
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
    compared = _compared(facts, settings, number)
    if compared["fault"]:
        reasons = [found["reason"]] if found["verdict"] == "worse" else []
        found = {**found, "verdict": "worse", "reason": "; ".join([*reasons, compared["fault"]])}
    fails = found["verdict"] == "worse" or (
        found["verdict"] == "too few" and settings["watch_too_few"] == "return"
    )
    failure = f"release {plan['target']['id']} at {percent} %: {found['reason']}" if fails else ""
    return {**found, "failure": failure, "answers": compared["lines"]}

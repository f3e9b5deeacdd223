"""Runs on the controller: the steps that plan a run and settle what it begins with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.acme import keeper_hosts
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.leftovers import unmonitored_hosts
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import (
    container_settings,
    new_release,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.given import remember, undone
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.placement import (
    port_conflicts,
    reasons_to_restage,
    step_hosts,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import (
    with_found_places,
    with_places,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.plan import Request, release_plan
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.registry import lost_image
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.service import RECIPE
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import (
    EMPTY_STATE,
    NewerStateError,
    numbered,
    serves_state,
    with_updates,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import (
    found_state,
    plan_of,
    present_balancers,
    release_settings_of,
    state_of,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    Given,
    HostVars,
    Operation,
    Plan,
    Release,
    State,
    StepHost,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import fleet_hosts, read_once


class Asked(TypedDict):
    """What the command line and the checkout say of a run."""

    operation: Operation
    node: str
    """The extra variable node."""
    release: str
    """The extra variable release."""
    image: str
    """For deploy, the hash of what the image is built from."""
    given: dict[str, Given]
    """The settings that the run was given by -e (see given_settings)."""
    state_elsewhere: str
    """The state file of the first load balancer, where the run is about no load balancer; else empty."""
    updates: NotRequired[dict[str, str]]
    """The images that update.yml makes anew (see plugin_utils/updates.py); empty for any other run."""
    looked_elsewhere: bool
    """Whether that load balancer could be asked for the file."""


class PlanStep(TypedDict):
    """What the run found and is to do."""

    refusal: str
    """Why the run must not go on at all, or empty."""
    looked: bool
    """Whether a load balancer was looked at, so that `state` is what it holds."""
    state: State
    plan: Plan
    shown: list[str]
    """Lines for the user."""
    hosts: list[StepHost]


def plan_step(
    hostvars: HostVars,
    groups: Groups,
    in_scope: Sequence[str],
    present: Sequence[str],
    asked: Asked,
    now: float,
) -> PlanStep:
    """Plan the run: read the state that the load balancers hold, and decide what to do."""
    hostvars = read_once(hostvars, fleet_hosts(groups))
    nodes, about = groups["model_nodes"], set(in_scope)
    balancers = present_balancers(hostvars, groups, present)
    refusal, state = "", EMPTY_STATE
    try:
        state = with_found_places(_found(hostvars, groups, present, asked["state_elsewhere"]), hostvars)
    except NewerStateError as error:
        refusal = str(error)
    wanted: Release | None = None
    restage: list[str] = []
    if asked["operation"] == "deploy":
        wanted = new_release(asked["image"], container_settings(hostvars, nodes, RECIPE), now)
        restage = reasons_to_restage(state, wanted, hostvars, nodes, present)
    request = Request(
        operation=asked["operation"],
        nodes=nodes,
        balancers=balancers,
        away=[host for host in groups["load_balancers"] if host in about and host not in balancers],
        limited=any(host not in about for host in fleet_hosts(groups)),
        settings=release_settings_of(hostvars, groups),
        wanted=wanted,
        release=asked["release"],
        node=asked["node"],
        restage=[*restage, *lost_image(state, hostvars, groups, present)],
        updates=asked.get("updates", {}),
    )
    plan = release_plan(state, request)
    lost = undone(plan, asked["given"], hostvars) if balancers else []
    remember(plan, asked["given"])
    if plan["target"]:
        plan["target"] = with_places(plan["target"], plan["target_slot"], hostvars, nodes)
    if conflicts := [] if plan["error"] else port_conflicts(plan, hostvars, nodes, present):
        plan |= {"error": "; ".join(conflicts), "target": None, "baseline": state}
    return {
        "refusal": refusal,
        "looked": asked["looked_elsewhere"] or bool(balancers),
        "state": state,
        "plan": plan,
        "shown": [] if refusal else [*_shown(plan, nodes), *lost],
        "hosts": [] if refusal else _hosts(plan, hostvars, groups, present),
    }


def packages_step(
    hostvars: HostVars,
    groups: Groups,
    present: Sequence[str],
    state_elsewhere: str = "",
    updates: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return, by repository of an image, the time of the update that gave it newer packages: it is in the image's name.

    `updates` are those of this run. A state that is too new has none: plan_step refuses it.
    """
    try:
        state = _found(hostvars, groups, present, state_elsewhere)
    except NewerStateError:
        return {}
    return with_updates(state, updates or {}).get("packages_of", {})


def _found(hostvars: HostVars, groups: Groups, present: Sequence[str], state_elsewhere: str) -> State:
    """Return found_state, with `state_elsewhere` as text."""
    return found_state(hostvars, groups, present, json.loads(state_elsewhere or "null"))


def _hosts(plan: Plan, hostvars: HostVars, groups: Groups, present: Sequence[str]) -> list[StepHost]:
    """Return the hosts that the steps act on, those among them where something still collects or tells metrics."""
    unmonitored = unmonitored_hosts(hostvars, groups, present)
    return [
        *step_hosts(plan, hostvars, groups["model_nodes"], present, keeper_hosts(hostvars, groups)),
        *(StepHost(host=host, groups=["flotilla_unmonitored"]) for host in unmonitored),
    ]


def _shown(plan: Plan, nodes: Sequence[str]) -> list[str]:
    """Return what the user is told of the plan."""
    lines = [plan["note"]]
    if plan["target"]:
        target, live = plan["target"]["id"], plan["state"]["live"]
        # A canary whose steps end before 100 %, and a shadow, wait for promote.yml.
        tried = bool(plan["steps"]) and plan["steps"][-1]["percent"] < 100
        does = "is started" if tried else "goes live"
        lines.append(f"release {target} {does} on {', '.join(nodes)} in the {plan['target_slot']} slots")
        if live:
            lines.append(f"{live['id']} stays live" if tried else f"live until then is {live['id']}")
    return [line for line in lines if line]


def baseline_step(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> State | None:
    """Return the state to apply before any container is touched; None where the load balancers serve the baseline.

    They do not where a canary is to be withdrawn, or where a run was interrupted.
    """
    plan, state = plan_of(hostvars, present), state_of(hostvars, present)
    machines = [hostvars[host]["flotilla_machine"] for host in present_balancers(hostvars, groups, present)]
    if plan["first"] or (
        plan["baseline"] == plan["state"]
        and all(
            serves_state(plan["state"], machine.get("state"), machine.get("served", ""))
            for machine in machines
        )
    ):
        return None
    return numbered(plan["baseline"], state)


def with_reference(plan: Plan, reference: str) -> Plan:
    """Return the plan with its target's image named by digest, now that the registry has the image."""
    assert plan["target"] is not None
    return {**plan, "target": {**plan["target"], "reference": reference}}

"""Runs on the controller: which containers nodes must run, which they run, and which must stop."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    HostVars,
    Machine,
    Missing,
    Plan,
    State,
    StepHost,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import container_name, other_slot


def container_state(machine: Machine | None, node: str, slot: str, release: str) -> str:
    """Return "running", "stopped" or "missing", for `node`'s container of `release` in `slot`."""
    container = machine["containers"].get(container_name(node, slot)) if machine else None
    if not container or container["labels"].get("flotilla.release") != release:
        return "missing"
    return "running" if container["running"] else "stopped"


def out_of_scope(plan: Plan, node: str) -> bool:
    """Tell whether `node` is not in the fleet yet and the run does not add it, since the run does not read settings."""
    return plan["operation"] in ("drain", "undrain", "remove") and node not in plan["baseline"]["nodes"]


def missing_container(plan: Plan, node: str, machine: Machine | None) -> Missing | None:
    """Return what `node` must run and does not, or None.

    With a target that is the target, whether it runs already or not, since the target has to be proved; without one
    it is the live release, where the machine's container is missing, stopped, or of another release.
    """
    if plan["target"]:
        return {"release": plan["target"], "slot": plan["target_slot"]}
    live, slot = plan["baseline"]["live"], plan["baseline"]["live_slot"]
    if (
        live is None
        or out_of_scope(plan, node)
        or container_state(machine, node, slot, live["id"]) == "running"
    ):
        return None
    return {"release": live, "slot": slot}


def step_hosts(
    plan: Plan, hostvars: HostVars, nodes: Sequence[str], present: Sequence[str]
) -> list[StepHost]:
    """Return, of the hosts that are `present`, those that the steps of the run act on, with their groups.

    All hosts are in flotilla_release where a release is to go live, those of `nodes` that lack a container are in
    flotilla_stage, and the node that is removed is in flotilla_leave. Hosts without a group are left out.
    """
    groups: dict[str, list[str]] = {host: ["flotilla_release"] if plan["target"] else [] for host in present}
    for node in nodes:
        if node not in groups:
            continue
        if missing_container(plan, node, hostvars[node]["flotilla_machine"]):
            groups[node].append("flotilla_stage")
        if plan["operation"] == "remove" and node == plan["node"]:
            groups[node].append("flotilla_leave")
    return [{"host": host, "groups": found} for host, found in groups.items() if found]


def retired_slots(plan: Plan, state: State, hostvars: HostVars, nodes: Sequence[str]) -> dict[str, str]:
    """Return, by node, the slot with a container that runs, takes no traffic and is not to take any."""
    other = other_slot(state["live_slot"])
    if state["candidate"]:
        return {}
    # The machine was inspected before anything was staged on it.
    staged_not_live = plan["target"] is not None and plan["target_slot"] == other
    return {node: other for node in nodes if staged_not_live or _runs(hostvars, node, other)}


def _runs(hostvars: HostVars, node: str, slot: str) -> bool:
    """Tell whether the container of `node` in `slot` ran when the machine was inspected."""
    container = hostvars[node]["flotilla_machine"]["containers"].get(container_name(node, slot))
    return container is not None and container["running"]

"""Runs on the controller: which containers nodes must run, which they run, and which must stop or go."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import (
    Deviation,
    container_deviations,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import release_settings
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import (
    machine_of,
    published_address,
    taken_by,
    taken_port,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.service import RECIPE, endpoint_service
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    HostVars,
    Machine,
    Missing,
    Plan,
    Release,
    State,
    StepHost,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import container_name, other_slot


def container_state(
    hostvars: HostVars, machine: Machine | None, node: str, slot: str, release: Release
) -> str:
    """Return "running", "stopped" or "missing", for `node`'s container of `release` in `slot`.

    One that differs from what the release wants is missing, as it has to be made anew.
    """
    container = machine["containers"].get(container_name(node, slot)) if machine else None
    if not container or not machine or container["labels"].get("flotilla.release") != release["id"]:
        return "missing"
    if differing_settings(hostvars, machine, node, slot, release):
        return "missing"
    return "running" if container["running"] else "stopped"


def endpoint_deviations(
    hostvars: HostVars, machine: Machine, node: str, slot: str, release: Release
) -> list[Deviation]:
    """Return in what `node`'s container in `slot` is not as `release` wants it.

    What another version of Flotilla made was made by other rules: of that, only whether it runs well is compared.
    """
    found = container_deviations(machine, endpoint_service(hostvars, node, release, slot))
    if release_settings(release, node).get("recipe") == RECIPE:
        return found
    return [deviation for deviation in found if deviation.name in ("missing", "stopped", "unhealthy")]


def differing_settings(
    hostvars: HostVars, machine: Machine, node: str, slot: str, release: Release
) -> list[str]:
    """Return the names of the endpoint_deviations of a container that the machine has, but for being stopped."""
    found = endpoint_deviations(hostvars, machine, node, slot, release)
    return [deviation.name for deviation in found if deviation.name != "stopped"]


def out_of_scope(plan: Plan, node: str) -> bool:
    """Tell whether `node` is not in the fleet yet and the run does not add it, since the run does not read settings."""
    return plan["operation"] in ("drain", "undrain", "remove") and node not in plan["baseline"]["nodes"]


def missing_container(plan: Plan, hostvars: HostVars, node: str, machine: Machine | None) -> Missing | None:
    """Return what `node` must run and does not, or None.

    With a target that is the target, whether it runs already or not, since the target has to be proved; without one
    it is the live release, where the machine's container is missing, stopped, or of another release. A container that
    differs from its release is exchanged here only where it gets no traffic; else reasons_to_restage names it.
    """
    if plan["target"]:
        return {"release": plan["target"], "slot": plan["target_slot"]}
    live, slot = plan["baseline"]["live"], plan["baseline"]["live_slot"]
    if live is None or out_of_scope(plan, node):
        return None
    found = container_state(hostvars, machine, node, slot, live)
    if found == "running" or (found == "missing" and _serves(plan["state"], live, machine, node)):
        return None
    return {"release": live, "slot": slot}


def _serves(state: State, live: Release, machine: Machine | None, node: str) -> bool:
    """Tell whether `node`'s container in the live slot runs, is of the live release, and may be sent requests."""
    container = machine["containers"].get(container_name(node, state["live_slot"])) if machine else None
    entry = state["nodes"].get(node)
    return (
        container is not None
        and container["running"]
        and container["labels"].get("flotilla.release") == live["id"]
        and entry is not None
        and entry["status"] == "up"
        and node not in state["drained"]
    )


def reasons_to_restage(
    state: State, wanted: Release, hostvars: HostVars, nodes: Sequence[str], present: Sequence[str]
) -> list[str]:
    """Return why the live release has to be started anew in the other slots, for the traffic to go there.

    A container that serves and differs from its release can only be exchanged once another one serves; and a node
    that takes over the port of one that has left the inventory can't have it in the live slot before that one stops.
    """
    live, slot = state["live"], state["live_slot"]
    if live is None:
        return []
    reasons = []
    here = set(present)
    for node in nodes:
        if node not in here:
            continue
        machine, name = machine_of(hostvars, node), container_name(node, slot)
        if _serves(state, live, machine, node):
            if found := differing_settings(hostvars, machine, node, slot, live):
                reasons.append(f"{node}: {name} is not as its release wants it ({', '.join(found)})")
        elif node not in state["nodes"]:
            taker = taken_by(machine, published_address(hostvars, wanted, node, slot), name)
            if taker and _owner(machine, taker) not in nodes:
                reasons.append(f"{node}: its port is still that of {taker}")
    return reasons


def _owner(machine: Machine, name: str) -> str:
    """Return the node that the container `name` of the machine belongs to."""
    return machine["containers"][name]["labels"].get("flotilla.endpoint", "")


def port_conflicts(plan: Plan, hostvars: HostVars, nodes: Sequence[str], present: Sequence[str]) -> list[str]:
    """Return, for the user, the ports that containers are to be staged on and that others have."""
    found: list[str] = []
    # Other operations are about one node, and what another one can't start is left out by the gate.
    here = set(present) if plan["target"] or plan["operation"] == "deploy" else set()
    for node in nodes:
        if node not in here:
            continue
        machine = machine_of(hostvars, node)
        missing = missing_container(plan, hostvars, node, machine)
        if not missing:
            continue
        name = container_name(node, missing["slot"])
        wanted = published_address(hostvars, missing["release"], node, missing["slot"])
        taker = taken_by(machine, wanted, name)
        # A rolling release stops a node's own container first.
        if taker and not (plan["rolling"] and taker == container_name(node, other_slot(missing["slot"]))):
            found.append(taken_port(wanted, missing["slot"], taker, _owner(machine, taker) in nodes))
    return found


def step_hosts(
    plan: Plan, hostvars: HostVars, nodes: Sequence[str], present: Sequence[str], keepers: Sequence[str] = ()
) -> list[StepHost]:
    """Return, of the hosts that are `present`, those that the steps of the run act on, with their groups.

    All hosts are in flotilla_release where a release is to go live, those of `nodes` that lack a container are in
    flotilla_stage, the node that is removed is in flotilla_leave, and `keepers` are in flotilla_acme. Hosts without a
    group are left out.
    """
    groups: dict[str, list[str]] = {host: ["flotilla_release"] if plan["target"] else [] for host in present}
    for keeper in keepers:
        if keeper in groups:
            groups[keeper].append("flotilla_acme")
    for node in nodes:
        if node not in groups:
            continue
        if missing_container(plan, hostvars, node, hostvars[node]["flotilla_machine"]):
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

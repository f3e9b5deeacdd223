"""Runs on the controller: what nodes that have left the inventory, and releases that are gone, left on machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import ENDPOINTS_FOLDER
from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import published_ports
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import nodes_on
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.registry import left_registry
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import (
    images_in_use,
    is_live,
    kept_releases,
    needed_images,
    unneeded_images,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    HostVars,
    Machine,
    Plan,
    State,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    SLOTS,
    container_name,
    endpoint_address,
    machine,
    machines,
    read_once,
)


class Leftover(TypedDict):
    """What is to be removed from a machine, or fetched again, through its first host `host`."""

    host: str
    hosts: list[str]
    """All hosts of the machine."""
    nodes: list[str]
    """Nodes that have left it: their containers and certificates go."""
    images: list[str]
    """Images that no release of a node there needs."""
    registry: list[str]
    """The containers of the registry, where the machine is the builder no more."""
    missing: list[str]
    """Images that a container there runs from and that the engine no longer knows by their names."""
    containers: list[str]
    """The containers that were found and are not as they were, by the run's end: their ports need no guard."""


@dataclass(frozen=True)
class Machines:
    """The machines of the hosts that are present, and what was found on those that could be inspected."""

    hosts: Mapping[str, Sequence[str]]
    """The hosts that are present, by their machine; the first comes first."""
    found: Mapping[str, Machine]
    of_nodes: Mapping[str, str]
    """The machine of each host of model_nodes."""

    @classmethod
    def of(cls, hostvars: HostVars, groups: Groups, present: Sequence[str]) -> Machines:
        """Read the machines; Ansible builds a host's variables anew each time they are read."""
        variables = read_once(hostvars, dict.fromkeys([*present, *groups["model_nodes"]]))
        hosts: dict[str, list[str]] = {}
        for entry in machines(variables, present):
            hosts.setdefault(machine(variables, entry["first"]), []).append(entry["host"])
        found: dict[str, Machine] = {}
        for place, names in hosts.items():
            seen = variables[names[0]].get("flotilla_machine")
            if seen and "containers" in seen:
                found[place] = seen
        of_nodes = {node: machine(variables, node) for node in groups["model_nodes"]}
        return cls(hosts, found, of_nodes)

    def left(self, state: State) -> dict[str, list[str]]:
        """Return, by machine, the forgotten nodes that have left something there."""
        forgotten = list(dict.fromkeys(entry["node"] for entry in state.get("forgotten", [])))
        found: dict[str, list[str]] = {}
        for place, seen in self.found.items():
            known = nodes_on(seen).keys() | _certificates_on(seen)
            left = [node for node in forgotten if node in known and self.of_nodes.get(node) != place]
            if left:
                found[place] = left
        return found


def _certificates_on(found: Machine) -> set[str]:
    """Return the nodes of whose endpoints a machine has certificates."""
    folder = f"{ENDPOINTS_FOLDER}/"
    return {path.removeprefix(folder).partition("/")[0] for path in found["files"] if path.startswith(folder)}


def without_forgotten(
    hostvars: HostVars, groups: Groups, present: Sequence[str], state: State, told: str
) -> State:
    """Return `state` without the forgotten nodes of which nothing is left, and without the node `told`.

    What was found of a node has been removed, unless a host has said that it could not (release_not_removed). A
    machine that was inspected and had nothing of the node is done with too.
    """
    known = Machines.of(hostvars, groups, present)
    failed = {
        place
        for place, hosts in known.hosts.items()
        if any(hostvars[host].get("release_not_removed", "") for host in hosts)
    }
    removed = known.left(state)
    gone = {node for place, nodes in removed.items() if place not in failed for node in nodes} | {told}
    kept = {node for place, nodes in removed.items() if place in failed for node in nodes}
    left = [
        entry
        for entry in state.get("forgotten", [])
        if entry["node"] in kept or (entry["node"] not in gone and entry["machine"] not in known.found)
    ]
    after: State = {**state}
    after.pop("forgotten", None)
    return {**after, "forgotten": left} if left else after


def leftovers(
    hostvars: HostVars, groups: Groups, present: Sequence[str], plan: Plan, state: State, push_endpoint: str
) -> list[Leftover]:
    """Return what the run is to put right on machines at its end, now that `state` is in effect.

    A limited run does nothing here. Images that no release needs go with every deployment, and all with the last node
    of a machine; `push_endpoint` is where the builder pushes them, and without it they stay.
    """
    if plan["limited"] or not (plan["operation"] == "deploy" or state.get("forgotten")):
        return []
    known = Machines.of(hostvars, groups, present)
    left = known.left(state)
    deployed = plan["operation"] == "deploy" and (plan["target"] is None or is_live(plan, state))
    needed = [release["reference"] for release in kept_releases(state)]
    found: list[Leftover] = []
    for place, seen in known.found.items():
        nodes = left.get(place, [])
        own = [node for node, there in known.of_nodes.items() if there == place]
        pruned = push_endpoint and (deployed or nodes)
        # The container that was live before stays, stopped, and the engine removes no image that one has.
        staying = images_in_use(seen, _gone(seen, own, plan, nodes))
        kept = [*(needed if own else []), *staying]
        images = unneeded_images(seen["images"], kept, push_endpoint) if pruned else []
        # A release that goes live has brought its image along.
        wanted = needed_images(state) if own and deployed and plan["target"] is None else []
        missing = [image for image in wanted if image not in seen["images"]]
        registry = left_registry(hostvars, groups, place, seen) if plan["operation"] == "deploy" else []
        containers = [*_unguarded(hostvars, seen, own, plan, nodes), *registry]
        if nodes or images or missing or containers:
            hosts = list(known.hosts[place])
            found.append(
                {
                    "host": hosts[0],
                    "hosts": hosts,
                    "nodes": nodes,
                    "images": images,
                    "registry": registry,
                    "missing": missing,
                    "containers": containers,
                }
            )
    return found


def _unguarded(
    hostvars: HostVars, seen: Machine, own: Sequence[str], plan: Plan, left: Sequence[str]
) -> list[str]:
    """Return the containers of a machine that the run has removed or replaced and whose ports nobody is to have.

    `own` are the nodes that the inventory has there, and `left` those that have left.
    """
    gone = _gone(seen, own, plan, left)
    published = {
        name: set(published_ports(seen["containers"][name])) for name in gone if name in seen["containers"]
    }
    if not published:
        return []
    addresses = [endpoint_address(hostvars, node, slot) for node in own for slot in SLOTS]
    wanted = {(address["address"], address["port"]) for address in addresses}
    return [name for name, ports in published.items() if ports - wanted]


def _gone(seen: Machine, own: Sequence[str], plan: Plan, left: Sequence[str]) -> list[str]:
    """Return the containers of a machine that the run has removed, or replaced if there was one."""
    gone = [name for node in left for name in nodes_on(seen).get(node, [])]
    return gone + ([container_name(node, plan["target_slot"]) for node in own] if plan["target"] else [])


def without_containers(found: Machine, names: Sequence[str]) -> Machine:
    """Return what was found on a machine without the containers `names`, which have been removed or replaced."""
    kept = {name: container for name, container in found["containers"].items() if name not in names}
    return {**found, "containers": kept}

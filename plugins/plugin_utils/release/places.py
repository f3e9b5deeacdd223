"""Runs on the controller: where the endpoints of a release publish, and who else is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import published_ports
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import release_settings
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.copies import copied
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    HostVars,
    Machine,
    Release,
    State,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    EndpointAddress,
    container_name,
    endpoint_address,
    other_slot,
    with_port,
)


def has_place(release: Release, node: str) -> bool:
    """Tell whether `release` says where `node` publishes. That of an earlier version, or of a later node, does not."""
    return "address" in release["settings"]["nodes"].get(node, {})


def published_address(hostvars: HostVars, release: Release, node: str, slot: str) -> EndpointAddress:
    """Return where `node`'s endpoint of `release` publishes in `slot`: as the release says, else the inventory."""
    if not has_place(release, node):
        return endpoint_address(hostvars, node, slot)
    settings = release_settings(release, node)
    port = int(settings["port"] or 0) + (slot == "green")
    return {"name": node, "address": str(settings["address"]), "port": port}


def published_addresses(
    hostvars: HostVars, release: Release | None, nodes: Iterable[str], slot: str
) -> list[EndpointAddress]:
    """Return the published_address of those of `nodes` that the release or the inventory knows."""
    if release is None:
        return []
    return [
        published_address(hostvars, release, node, slot)
        for node in nodes
        if has_place(release, node) or node in hostvars
    ]


def machine_of(hostvars: HostVars, host: str) -> Machine:
    """Return what was found on the machine of `host`, nothing where it could not be inspected."""
    found = hostvars[host].get("flotilla_machine")
    return found if found and "containers" in found else {"containers": {}, "images": [], "files": {}}


def with_found_places(state: State, hostvars: HostVars) -> State:
    """Return `state` whose live release and candidate say of each node where it publishes.

    Where an earlier version wrote the state, that is what the found containers publish, else what the inventory says.
    """
    state = copied(state)
    if state["live"]:
        _add_places(state["live"], state["live_slot"], hostvars, list(state["nodes"]))
    if candidate := state["candidate"]:
        _add_places(candidate["release"], other_slot(state["live_slot"]), hostvars, candidate["nodes"])
    return state


def with_places(release: Release, slot: str, hostvars: HostVars, nodes: Sequence[str]) -> Release:
    """Return `release`, which is to be staged in `slot`, with a place for each of `nodes`."""
    release = copied(release)
    _add_places(release, slot, hostvars, nodes)
    return release


def _add_places(release: Release, slot: str, hostvars: HostVars, nodes: Sequence[str]) -> None:
    for node in nodes:
        if has_place(release, node):
            continue
        place = _found_place(release, slot, hostvars, node)
        if place is None and node in hostvars:
            place = endpoint_address(hostvars, node, slot)
        if place is not None:
            base = place["port"] - (slot == "green")
            own = release["settings"]["nodes"].setdefault(node, {})
            own["address"] = place["address"]
            if base != release["settings"]["common"].get("port"):
                own["port"] = base


def _found_place(release: Release, slot: str, hostvars: HostVars, node: str) -> EndpointAddress | None:
    """Return where `node`'s container of `release` in `slot` was found to publish, None where it was not found."""
    name = container_name(node, slot)
    for host in [node] if node in hostvars else hostvars:
        container = machine_of(hostvars, host)["containers"].get(name)
        if container and container["labels"].get("flotilla.release") == release["id"]:
            for address, port in published_ports(container):
                return {"name": node, "address": address, "port": port}
    return None


def taken_by(machine: Machine, wanted: EndpointAddress, name: str) -> str:
    """Return the running container, other than `name`, that has the address and port `wanted`; empty for none."""
    place = wanted["address"], wanted["port"]
    for other, container in machine["containers"].items():
        if other != name and container["running"] and place in published_ports(container):
            return other
    return ""


def taken_port(wanted: EndpointAddress, slot: str, name: str, owned: bool) -> str:
    """Return, for the user, that the place of a node's endpoint in `slot` is taken by the container `name`.

    `owned` tells whether the inventory has that container's node.
    """
    place = with_port(wanted["address"], wanted["port"])
    fix = (
        "set model_endpoint_port to one that no container on the machine has"
        if owned
        else "run site.yml without --limit and with every load balancer, which first moves the traffic away"
    )
    return f"{wanted['name']}: its endpoint is to have {place} in the {slot} slot, where {name} still serves: {fix}"


def nodes_on(machine: Machine) -> Mapping[str, list[str]]:
    """Return the names of a machine's endpoint containers by their nodes."""
    found: dict[str, list[str]] = {}
    for name, container in sorted(machine["containers"].items()):
        if container["labels"].get("flotilla.role") == "endpoint":
            found.setdefault(container["labels"].get("flotilla.endpoint", ""), []).append(name)
    return found

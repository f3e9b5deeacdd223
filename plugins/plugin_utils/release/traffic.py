"""Runs on the controller: who gets traffic, as states of the load balancers and as servers of Nginx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import (
    release_settings,
    same_content,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.copies import copied
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import (
    has_place,
    published_address,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import KEEP_RELEASES, in_traffic
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    Forgotten,
    GateResult,
    HostVars,
    NodeEntry,
    Plan,
    Release,
    Server,
    SettingValue,
    State,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    drained_nodes,
    other_slot,
)

RAMP = (25, 50, 75, 100)
"""The steps, in percent of its weight, in which a node that joins takes its share."""


def next_state(plan: Plan, gated: GateResult, percent: float | None, now: float) -> State:
    """Return the state that gives the plan's target `percent` of the traffic; with None the target gets no more."""
    target = plan["target"]
    if target and percent is not None and percent >= 100:
        return _live_state(plan, target, gated, now)
    state: State = copied(plan["baseline"])
    if not target:
        state["nodes"] = gated["nodes"] | _on_their_machines(gated)
        _note_departed(state, plan["baseline"], now)
        return state
    # What was staged is the target: a node that joins, or was away, has not got the release that is live. One that has
    # left the inventory serves until the target is live.
    state["nodes"] = {
        node: gated["nodes"].get(node, entry) if entry["status"] == "up" else entry
        for node, entry in plan["baseline"]["nodes"].items()
    }
    state["candidate"] = None
    if percent is not None:
        state["candidate"] = {
            "release": target,
            "percent": percent,
            "shadow": plan["shadow"],
            "nodes": gated["members"],
        }
    return state


def _on_their_machines(gated: GateResult) -> dict[str, NodeEntry]:
    """Return the entries of the gate's members, each with the machine that the node is on."""
    return {node: {**gated["nodes"][node], "machine": machine} for node, machine in gated["machines"].items()}


def _note_departed(state: State, before: State, now: float) -> None:
    """Note in `state` which nodes that were in `before` it has no more: their machines still have what they left."""
    for node, entry in before["nodes"].items():
        if node not in state["nodes"]:
            _forget(state, node, entry.get("machine", ""), now)
            state["drained"] = [name for name in state["drained"] if name != node]


def _forget(state: State, node: str, machine: str, now: float) -> None:
    """Note in `state` that what `node` left is still on `machine`."""
    entry: Forgotten = {"node": node, "machine": machine, "since": int(now)}
    known = state.get("forgotten", [])
    if (node, machine) not in [(other["node"], other["machine"]) for other in known]:
        state["forgotten"] = [*known, entry]


def _live_state(plan: Plan, target: Release, gated: GateResult, now: float) -> State:
    """Return the state in which the target is live."""
    state: State = copied(plan["baseline"])
    live, before = state["live"], plan["baseline"]["nodes"]
    # A release that was started anew is not one to go back to.
    if live and not same_content(live, target, [node for node in gated["nodes"] if node in before]):
        older = [release for release in state["previous"] if release["id"] != target["id"]]
        state["previous"] = [live, *older][: KEEP_RELEASES - 1]
    state["live"], state["live_slot"], state["candidate"] = (
        {**target, "since": int(now)},
        plan["target_slot"],
        None,
    )
    state["nodes"] = {
        node: {**entry, "share": 100} if entry["status"] == "up" else entry
        for node, entry in (gated["nodes"] | _on_their_machines(gated)).items()
    }
    _note_departed(state, plan["baseline"], now)
    for node, machine in gated["machines"].items():
        left = before[node].get("machine", machine) if node in before else machine
        if left != machine and live and _moves(live, target, node):
            _forget(state, node, left, now)
    return state


def _moves(live: Release, target: Release, node: str) -> bool:
    """Tell whether `node` has another address in `target` than in `live`, so that it may be on another machine."""
    return release_settings(live, node).get("address") != release_settings(target, node).get("address")


def rolling_state(
    plan: Plan,
    gated: GateResult,
    hostvars: HostVars,
    done: Sequence[str],
    replacing: str,
    now: float,
) -> State:
    """Return the state half-way through a rolling release: `done` serve the target, `replacing` (or "") serves nothing.

    Both slots take traffic, each by the weights of its nodes. When no node is left that serves the release before,
    the target is live.
    """
    target, baseline = plan["target"], plan["baseline"]
    assert target is not None
    facts = {node: hostvars[node] for node in gated["members"]}
    drained, serving = set(drained_nodes(facts, gated["members"], baseline)), in_traffic(baseline)
    left = [node for node in gated["members"] if node not in {*done, replacing}]
    unreplaced = [node for node in left if node in serving]
    before = [node for node in unreplaced if node not in drained]
    after = [node for node in done if node not in drained]
    reason = f"release {target['id']} replaces what it ran"
    away: NodeEntry = {"status": "down", "share": 100, "since": int(now), "reason": reason}
    if not before:
        state = next_state(plan, gated, 100, now)
        state["nodes"] |= dict.fromkeys([*left, replacing] if replacing else left, away)
        return state
    state = next_state(plan, gated, None, now)
    # An interrupted run had replaced what some of those ran, and this one has given it back.
    state["nodes"] |= {node: gated["nodes"][node] for node in unreplaced}
    state["nodes"] |= {node: away for node in [*done, replacing] if node in state["nodes"]}
    if after:
        weights = {node: _weight(facts, node) for node in [*before, *after]}
        percent = 100 * sum(weights[node] for node in after) / sum(weights.values())
        state["candidate"] = {"release": target, "percent": percent, "shadow": 0.0, "nodes": list(done)}
    return state


def ramped(state: State) -> State:
    """Return the state with every share that is below 100 one step up."""
    nodes: dict[str, NodeEntry] = {
        node: {**entry, "share": next(share for share in RAMP if share > entry["share"])}
        if entry["share"] < 100
        else entry
        for node, entry in state["nodes"].items()
    }
    return {**state, "nodes": nodes}


def ramp_left(state: State) -> int:
    """Return how many steps it takes until every node that is up has its whole share."""
    shares = [entry["share"] for entry in state["nodes"].values() if entry["status"] == "up"]
    return sum(step > min(shares, default=100) for step in RAMP)


def _weight(hostvars: HostVars, node: str) -> int:
    """The share of the traffic that the inventory gives `node`, relative to the others."""
    return int(setting(hostvars, node, "model_endpoint_weight"))


def _concurrency(settings: Mapping[str, SettingValue]) -> int:
    """How many requests an endpoint with these settings answers at a time."""
    return int(settings["workers"] or 0) * int(settings["threads"] or 0)


def upstream_servers(hostvars: HostVars, nodes: Sequence[str], state: State) -> dict[str, list[Server]]:
    """Return the servers of each slot that takes, or may be asked for, traffic: by slot, in the inventory's order.

    The state says which nodes there are, and the inventory how much each gets, whatever hosts a run is limited to.

    Raises:
        AnsibleFilterError: when a slot has no server that is up.
    """
    # A node that has left the inventory, and still serves, has nothing there.
    left = [node for node in state["nodes"] if node not in set(nodes) and node not in hostvars]
    facts: HostVars = {node: hostvars[node] for node in nodes} | {node: {} for node in left}
    drained = set(drained_nodes(facts, list(facts), state))
    members: dict[str, tuple[Release | None, Mapping[str, NodeEntry]]] = {
        state["live_slot"]: (state["live"], state["nodes"])
    }
    if candidate := state["candidate"]:
        up: NodeEntry = {"status": "up", "share": 100, "since": 0, "reason": ""}
        members[other_slot(state["live_slot"])] = (
            candidate["release"],
            dict.fromkeys(candidate["nodes"], up),
        )
    servers: dict[str, list[Server]] = {}
    for slot, (release, entries) in members.items():
        here = [*nodes, *(node for node in left if release and has_place(release, node))]
        serving = [node for node in here if node in entries and node not in drained]
        servers[slot] = [_server(facts, node, slot, release, entries[node]) for node in serving]
        if all(server["down"] for server in servers[slot]):
            raise AnsibleFilterError(
                f"no {slot} endpoint would be left to take traffic: bring a host of model_nodes back, or set "
                "model_endpoint_state: present on one"
            )
    return servers


def _server(hostvars: HostVars, node: str, slot: str, release: Release | None, entry: NodeEntry) -> Server:
    """Return the server of Nginx's configuration that `node` is in `slot`."""
    assert release is not None
    return {
        **published_address(hostvars, release, node, slot),
        "weight": _weight(hostvars, node) * entry["share"],
        "concurrency": _concurrency(release_settings(release, node)),
        "down": entry["status"] != "up",
    }

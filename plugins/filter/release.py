"""What a run is to do about releases: from what is wanted and what is, to what each node runs and who gets traffic.

The state that the load balancers keep, and everything computed here, is plain JSON:

    State    serial (counts writes), live_slot (blue or green), live (Release or None), candidate (None, or what is
             in the other slot: release, percent, shadow, nodes), previous (Releases, newest first), nodes (by
             name: status "up" or "down", share in percent of its weight, since, reason), drained (names)
    Release  id, image (hash of its content), reference (by digest), settings (common, and by node what differs), since

Times are seconds since the epoch.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.plugin_utils import settings as role_settings
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import HostVars, Specs, setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    container_name,
    drained_nodes,
    endpoint_address,
    other_slot,
    read_once,
)

State = dict[str, Any]
Release = dict[str, Any]

KEPT = 5
"""How many releases a fleet can go back among, the live one included."""

RAMP = (25, 50, 75, 100)
"""The steps, in percent of its weight, in which a node that joins takes its share."""

NOTHING: State = {
    "serial": 0,
    "live_slot": "blue",
    "live": None,
    "candidate": None,
    "previous": [],
    "nodes": {},
    "drained": [],
}

CONTAINER_SETTINGS = (
    "workers",
    "threads",
    "cpus",
    "memory",
    "pids_limit",
    "body_limit",
    "fast_path",
    "log_sample",
    "capture_sample",
    "capture_directory",
    "capture_bytes",
)
"""The variables of role model_endpoint, without its name, that make the container what it is."""


def latest_state(states: Iterable[State | None]) -> State:
    """Return the state that was written last, of those the load balancers hold; an empty one where none has any."""
    latest = max(
        (state for state in states if state), key=lambda state: int(state["serial"]), default=NOTHING
    )
    # The version of what was rendered from it is each load balancer's own.
    return {name: copy.deepcopy(value) for name, value in latest.items() if name != "version"}


def is_settled(plan: Mapping[str, Any], machines: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether every load balancer serves what the plan begins with.

    It does not where a canary is to be withdrawn, or a run was interrupted before Nginx had read what it wrote.
    """
    return plan["settled"] == plan["state"] and all(
        machine["state"]
        and machine["state"]["serial"] == plan["state"]["serial"]
        and machine["state"].get("version") == machine["served"]
        for machine in machines
    )


def settings_of(hostvars: HostVars, host: str, specs: Specs, role: str) -> dict[str, Any]:
    """Return `plugin_utils.settings.settings_of`, with the specs that the caller read."""
    return role_settings.settings_of(hostvars, host, role, specs)


def container_settings(
    hostvars: HostVars, nodes: Sequence[str], specs: Specs, recipe: str
) -> dict[str, dict[str, Any]]:
    """Return what makes each node's container, apart from its image: by node, setting and value.

    `recipe` is a hash of the tasks that run the container, since a changed task makes another container.
    """
    role = {
        "model_endpoint": {
            f"model_endpoint_{name}": specs["model_endpoint"][f"model_endpoint_{name}"]
            for name in CONTAINER_SETTINGS
        }
    }
    return {node: {**settings_of(hostvars, node, role, "model_endpoint"), "recipe": recipe} for node in nodes}


def new_release(image: str, settings: Mapping[str, Mapping[str, Any]], now: float) -> Release:
    """Return the release made of the image content `image` and the nodes' `settings`; its id is their hash."""
    common = {
        name: json.loads(Counter(json.dumps(own[name]) for own in settings.values()).most_common(1)[0][0])
        for name in next(iter(settings.values()), {})
    }
    differing = {
        node: {name: value for name, value in own.items() if value != common[name]}
        for node, own in settings.items()
    }
    content = {
        "image": image,
        "settings": {
            "common": common,
            "nodes": {node: own for node, own in sorted(differing.items()) if own},
        },
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return {"id": digest[:12], **content, "reference": "", "since": int(now)}


def release_settings(release: Release, node: str) -> dict[str, Any]:
    """Return the settings of `node` in `release`; a node it does not know has the common ones."""
    settings = release["settings"]
    return {**settings["common"], **settings["nodes"].get(node, {})}


def _same(release: Release | None, wanted: Release, known: Iterable[str]) -> bool:
    """Tell whether `release` is what is wanted, on those of the `known` nodes that the inventory still has.

    A node that joins, or leaves, makes no release, whatever its own settings are.
    """
    return (
        release is not None
        and release["image"] == wanted["image"]
        and all(release_settings(release, node) == release_settings(wanted, node) for node in known)
    )


class RefusedError(Exception):
    """What was asked for can't be done; the message says why, and the cure."""


def release_plan(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run is to do.

    `request` says: verb ("deploy", "rollback", "promote", "drain", "undrain", "remove" or "rotate"), wanted (a Release,
    for deploy), nodes (all hosts of model_nodes), limited (whether the run leaves out hosts of the fleet),
    release (an id, for rollback), node (for drain, undrain and remove), rolling (whether node by node is replaced),
    lb (the settings of role nginx_lb), balancers and away (the load balancers that are there, and that are not).

    The plan says: target (the Release to go live, or None), target_slot, rolling, steps (dicts of percent and
    bake, the seconds to watch), shadow (percent), settled (the State to have before any container is touched),
    first (nothing is live yet), note (a line for the user, or ""), error (why nothing can be done, or "").
    """
    plan: dict[str, Any] = {
        "verb": request["verb"],
        "node": request.get("node") or "",
        "state": state,
        "settled": copy.deepcopy(state),
        "target": None,
        "target_slot": state["live_slot"] if state["live"] is None else other_slot(state["live_slot"]),
        "rolling": False,
        "steps": [],
        "shadow": 0.0,
        "first": state["live"] is None,
        "note": "",
        "error": "",
    }
    try:
        plan |= _planned(state, request)
    except RefusedError as error:
        plan["error"] = str(error)
    return plan


def _planned(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    """What `release_plan` adds to a plan that does nothing. Raises RefusedError."""
    verb, away = request["verb"], request["away"]
    settled = copy.deepcopy(state)
    target: Release | None = None
    note = ""
    if not request["balancers"] and not (verb == "deploy" and request["limited"]):
        raise RefusedError(
            f"no load balancer can be reached ({', '.join(away)}), so nothing can go live: bring one back"
        )
    if verb == "deploy":
        target, note = _target_of_deploy(state, request)
        if target is None and state["live"]:
            joining = [name for name in request["nodes"] if name not in state["nodes"]]
            _learn(settled["live"], request["wanted"], joining)
    elif verb == "rollback":
        target = _target_of_rollback(state, request.get("release") or "")
    elif verb == "promote":
        if not state["candidate"]:
            raise RefusedError("there is no release to promote: no canary and no shadow is under way")
        target = state["candidate"]["release"]
    elif verb == "rotate":
        if request["limited"]:
            raise RefusedError(
                "certificates are replaced on every host or on none: run playbooks/rotate_certificates.yml without "
                "--limit"
            )
    else:
        node = request["node"]
        if node not in request["nodes"]:
            raise RefusedError(
                f"node is {node!r}, which is no host of model_nodes ({', '.join(request['nodes'])}): -e node=NAME"
            )
        settled["drained"] = sorted({*state["drained"]} - {node} | ({node} if verb == "drain" else set()))
        if verb == "remove":
            settled["nodes"].pop(node, None)
            if settled["candidate"]:
                settled["candidate"]["nodes"] = [name for name in state["candidate"]["nodes"] if name != node]
    if request["limited"] and (target or verb == "rollback"):
        raise RefusedError(f"to {verb} a release needs every host: run playbooks/{verb}.yml without --limit")
    if target and away:
        raise RefusedError(
            f"{', '.join(away)} can't be reached, and a load balancer that misses a release would go on sending "
            "requests to the containers that it replaces: bring it back, or take it out of load_balancers if it is gone"
        )
    candidate = state["candidate"]
    returning = verb in ("deploy", "rollback") and not request["limited"]
    if candidate and returning and (target is None or candidate["release"]["id"] != target["id"]):
        settled["candidate"] = None
        note = note or f"the canary {candidate['release']['id']} is withdrawn"
    return {
        "settled": settled,
        "target": target,
        "rolling": bool(target and state["live"] and request["rolling"]),
        "steps": _steps(state, target, request) if target else [],
        "shadow": float(request["lb"]["shadow_percent"]) if verb == "deploy" else 0.0,
        "note": note,
    }


def _target_of_deploy(state: State, request: Mapping[str, Any]) -> tuple[Release | None, str]:
    wanted, nodes = request["wanted"], request["nodes"]
    known = [node for node in nodes if node in state["nodes"]]
    if _same(state["live"], wanted, known):
        return None, ""
    if request["limited"]:
        if state["live"] is None:
            return None, "nothing is live yet, and a release needs every host: run site.yml without --limit"
        return None, (
            f"this checkout would release {wanted['id']}, but a release needs every host: "
            f"{state['live']['id']} stays live until site.yml runs without --limit"
        )
    candidate = state["candidate"]
    if candidate and _same(candidate["release"], wanted, known):
        release: Release = copy.deepcopy(candidate["release"])
        _learn(release, wanted, [node for node in nodes if node not in known])
        return release, ""
    return _named_anew(wanted, state), ""


def _named_anew(wanted: Release, state: State) -> Release:
    """Return `wanted` under another id if a release of other content has it, which learned of nodes that joined."""
    kept = {release["id"]: release for release in kept_releases(state)}
    namesake = kept.get(wanted["id"])
    if namesake is None or namesake["settings"] == wanted["settings"]:
        return wanted
    digest = hashlib.sha256(f"{wanted['id']} {state['serial']}".encode()).hexdigest()
    return {**wanted, "id": digest[:12]}


def _target_of_rollback(state: State, release: str) -> Release | None:
    if not release:
        if state["candidate"]:
            return None  # to go back from a canary is to withdraw it
        if not state["previous"]:
            raise RefusedError("there is no release to go back to: the one that is live is the first")
        return dict(state["previous"][0])
    known = {entry["id"]: entry for entry in state["previous"]}
    if release in known:
        return dict(known[release])
    if state["live"] and state["live"]["id"] == release:
        raise RefusedError(f"release {release} is live already")
    raise RefusedError(
        f"release is {release!r}, which is not among those kept ({', '.join(known) or 'there is none'}): choose one of "
        "them, or leave it out to go back by one"
    )


def _learn(release: Release, wanted: Release, nodes: Sequence[str]) -> None:
    """Give the release the settings of `nodes`, which join, so that they are kept with it."""
    for node in nodes:
        common = release["settings"]["common"]
        own = release_settings(wanted, node)
        differing = {name: value for name, value in own.items() if value != common.get(name)}
        release["settings"]["nodes"].pop(node, None)
        if differing:
            release["settings"]["nodes"][node] = differing


def _steps(state: State, target: Release, request: Mapping[str, Any]) -> list[dict[str, float]]:
    lb, whole = request["lb"], {"percent": 100.0, "bake": 0.0}
    if state["live"] is None or request["verb"] == "rollback" or request["rolling"]:
        return [whole]
    bake = float(lb["bake_seconds"])
    if request["verb"] == "promote":
        return [{"percent": 100.0, "bake": bake}]
    if lb["canary_steps"]:
        steps = [
            {"percent": float(step["percent"]), "bake": float(step["bake"])} for step in lb["canary_steps"]
        ]
    elif lb["canary_percent"] is not None:
        steps = [{"percent": float(lb["canary_percent"]), "bake": bake}]
    elif float(lb["shadow_percent"]):
        steps = [{"percent": 0.0, "bake": 0.0}]
    else:
        steps = [{"percent": 100.0, "bake": bake}]
    candidate = state["candidate"]
    if candidate and candidate["release"]["id"] == target["id"] and lb["canary_steps"]:
        return [step for step in steps if step["percent"] >= candidate["percent"]] or steps[-1:]
    return steps


def with_reference(plan: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """Return the plan with its target's image named by digest, now that the registry has it."""
    return {**plan, "target": {**plan["target"], "reference": reference}}


def missing_container(
    plan: Mapping[str, Any], node: str, machine: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return what `node` has to run that it does not: a dict of release and slot, or None.

    With a target that is the target, whether it runs already or not, since it has to be proved; without one it is the
    live release, where the machine's container is missing, stopped, or of another release.
    """
    if plan["target"]:
        return {"release": plan["target"], "slot": plan["target_slot"]}
    live, slot = plan["settled"]["live"], plan["settled"]["live_slot"]
    if (
        live is None
        or _is_none_of_it(plan, node)
        or container_state(machine, node, slot, live["id"]) == "running"
    ):
        return None
    return {"release": live, "slot": slot}


def step_hosts(
    plan: Mapping[str, Any], hostvars: HostVars, nodes: Sequence[str], present: Sequence[str]
) -> list[dict[str, Any]]:
    """Return what the steps of a run have to do with the hosts that are `present`: dicts of host and groups.

    All are in flotilla_release where a release is to go live, those of `nodes` that lack a container are in
    flotilla_stage, and the node that is removed is in flotilla_leave. Hosts in none of them are left out.
    """
    found: dict[str, list[str]] = {host: ["flotilla_release"] if plan["target"] else [] for host in present}
    for node in nodes:
        if node not in found:
            continue
        if missing_container(plan, node, hostvars[node]["flotilla_machine"]):
            found[node].append("flotilla_stage")
        if plan["verb"] == "remove" and node == plan["node"]:
            found[node].append("flotilla_leave")
    return [{"host": host, "groups": groups} for host, groups in found.items() if groups]


def _is_none_of_it(plan: Mapping[str, Any], node: str) -> bool:
    """Tell whether `node` is no member yet, and the run none that makes it one, which reads its settings."""
    return plan["verb"] in ("drain", "undrain", "remove") and node not in plan["settled"]["nodes"]


def container_state(machine: Mapping[str, Any] | None, node: str, slot: str, release: str) -> str:
    """Return "running", "stopped" or "missing", for `node`'s container of `release` in `slot`."""
    container = (machine or {}).get("containers", {}).get(container_name(node, slot))
    if not container or container["labels"].get("flotilla.release") != release:
        return "missing"
    return "running" if container["running"] else "stopped"


def unseen_endpoints(hostvars: HostVars, balancers: Sequence[str], release: str) -> dict[str, dict[str, str]]:
    """Return, by node and load balancer, why a load balancer can't use what was staged on the node.

    Read from what each load balancer keeps as release_probe, the answer of module endpoint_probe.
    """
    unseen: dict[str, dict[str, str]] = {}
    for balancer in balancers:
        for node, found in hostvars[balancer].get("release_probe", {}).items():
            if not found["ready"]:
                unseen.setdefault(node, {})[balancer] = found["error"] or "it says that it is not ready"
            elif found["release"] != release:
                unseen.setdefault(node, {})[balancer] = (
                    f"it answers as release {found['release']}, not {release}"
                )
    return unseen


def node_reports(
    hostvars: HostVars,
    plan: Mapping[str, Any],
    nodes: Sequence[str],
    present: Sequence[str],
    concerned: Sequence[str],
    answering: Sequence[str],
    unseen: Mapping[str, Mapping[str, str]],
) -> dict[str, dict[str, Any]]:
    """Return what the gate wants to know of each of `nodes` (see `gate`).

    `concerned` are the hosts the run is about, `present` those of them that have neither failed nor become
    unreachable so far, `answering` the suspects that could be reached when asked again.
    """
    hostvars = read_once(hostvars, nodes)
    drained = set(drained_nodes(hostvars, nodes, plan["settled"]))
    here, about = set(present), set(concerned)
    removed = plan["node"] if plan["verb"] == "remove" else ""
    suspects = {node for node in nodes if node not in here or node in unseen}
    return {
        node: {
            "concerned": node in about and not _is_none_of_it(plan, node),
            "answers": node not in suspects or node in answering,
            "failed": node not in here,
            "staged": hostvars[node].get("model_endpoint_staged"),
            "unseen": unseen.get(node, {}),
            "drained": node in drained or node == removed,
        }
        for node in nodes
    }


def gate(
    plan: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]], lb: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """Judge whether the traffic may change, and return who is to get it.

    `nodes` says of each host of model_nodes: concerned (whether the run is about it), answers (it can be
    reached), failed (an earlier step did), staged (None where nothing had to be, else ready, reason and log),
    unseen (by load balancer, why it can't use what was staged), drained. The answer: passed, errors (lines),
    left_out (by node, why), members (who runs the target), nodes (for the next State).
    """
    state, target = plan["settled"], plan["target"]
    errors: list[str] = []
    left_out: dict[str, str] = {}
    members: list[str] = []
    after: dict[str, dict[str, Any]] = {}
    someone = any(entry["status"] == "up" for entry in state["nodes"].values())
    for node, report in nodes.items():
        before = state["nodes"].get(node)
        if not report["concerned"]:
            if before:
                after[node] = before
            continue
        reason = _reason(report)
        if reason and report["answers"]:
            errors.append(f"{node}: {reason}")
        if reason:
            left_out[node] = reason.splitlines()[0]
            after[node] = (
                before
                if before and before["status"] == "down"
                else {"status": "down", "share": 100, "since": int(now), "reason": left_out[node]}
            )
            continue
        members.append(node)
        joins = someone and not target and not (before and before["status"] == "up")
        share = RAMP[0] if joins and float(lb["ramp_seconds"]) else 100
        after[node] = (
            before
            if before and before["status"] == "up"
            else {"status": "up", "share": share, "since": int(now), "reason": ""}
        )
    serving = [
        node for node, entry in after.items() if entry["status"] == "up" and not nodes[node]["drained"]
    ]
    if plan["rolling"]:
        # One node after another leaves the traffic, and those that join are no help until it is their turn.
        in_traffic = _in_traffic(state)
        serving = [node for node in serving if node in in_traffic]
    serving_least = len(serving) - plan["rolling"]
    enough = serving_least >= int(lb["min_nodes"])
    if not enough:
        errors.append(
            f"{serving_least} of {len(nodes)} endpoints would take traffic, and release_min_nodes is "
            f"{lb['min_nodes']}: bring nodes back, or lower it"
        )
    # Without a release to stage, a node that is not right is left out, and the others follow the inventory.
    passed = enough and not (target and errors)
    return {"passed": passed, "errors": errors, "left_out": left_out, "members": members, "nodes": after}


def _reason(report: Mapping[str, Any]) -> str:
    """Why a node can't take traffic; empty when it can."""
    if not report["answers"]:
        return "it can't be reached"
    staged = report["staged"]
    if staged and not staged["ready"]:
        log = "\n".join(f"    {line}" for line in staged["log"])
        return f"{staged['reason']}\n  Its last log lines:\n{log}" if log else str(staged["reason"])
    if report["failed"]:
        return "a step before this one failed on it; its message is above"
    return "; ".join(f"{balancer} can't use it: {why}" for balancer, why in report["unseen"].items())


def next_state(plan: Mapping[str, Any], gated: Mapping[str, Any], percent: float | None, now: float) -> State:
    """Return the State that gives the plan's target `percent` of the traffic; with None it gets no more."""
    state: State = copy.deepcopy(plan["settled"])
    target = plan["target"]
    if target and percent is not None and percent >= 100:
        if not plan["first"]:
            older = [entry for entry in state["previous"] if entry["id"] != target["id"]]
            state["previous"] = [state["live"], *older][: KEPT - 1]
        state |= {"live": {**target, "since": int(now)}, "live_slot": plan["target_slot"], "candidate": None}
        state["nodes"] = {
            node: {**entry, "share": 100} if entry["status"] == "up" else entry
            for node, entry in gated["nodes"].items()
        }
        return state
    state["nodes"] = dict(gated["nodes"])
    if target:
        # What was staged is the target: a node that joins, or was away, has not got the release that is live.
        known = plan["settled"]["nodes"]
        state["nodes"] = {
            node: entry if known[node]["status"] == "up" else known[node]
            for node, entry in gated["nodes"].items()
            if node in known
        }
        share = {"release": target, "percent": percent, "shadow": plan["shadow"], "nodes": gated["members"]}
        state["candidate"] = None if percent is None else share
    return state


def _in_traffic(state: State) -> set[str]:
    """The nodes that requests are sent to, of either release, drained ones included."""
    up = {node for node, entry in state["nodes"].items() if entry["status"] == "up"}
    return up | set(state["candidate"]["nodes"] if state["candidate"] else ())


def rolling_state(
    plan: Mapping[str, Any],
    gated: Mapping[str, Any],
    hostvars: HostVars,
    done: Sequence[str],
    replacing: str,
    now: float,
) -> State:
    """Return the State half-way through a rolling release: `done` serve the target, `replacing` (or "") nobody.

    Both slots take traffic, each by the weights of its nodes. When nobody is left who serves the release before,
    the target is live.
    """
    settled = plan["settled"]
    hostvars = read_once(hostvars, gated["members"])
    drained, in_traffic = set(drained_nodes(hostvars, gated["members"], settled)), _in_traffic(settled)
    replaced = {*done, replacing}
    left = [node for node in gated["members"] if node not in replaced]
    serving = [node for node in left if node in in_traffic]
    away = {
        "status": "down",
        "share": 100,
        "since": int(now),
        "reason": f"release {plan['target']['id']} replaces what it ran",
    }
    before = [node for node in serving if node not in drained]
    after = [node for node in done if node not in drained]
    if not before:
        state = next_state(plan, gated, 100, now)
        waiting = [*left, replacing] if replacing else left
        return {**state, "nodes": {**state["nodes"], **dict.fromkeys(waiting, away)}}
    state = next_state(plan, gated, None, now)
    # An interrupted run had replaced what some of those ran, and this one has given it back.
    state["nodes"] |= {node: gated["nodes"][node] for node in serving}
    state["nodes"] |= {node: away for node in [*done, replacing] if node in state["nodes"]}
    if after:
        weights = {node: _weight(hostvars, node) for node in [*before, *after]}
        percent = 100 * sum(weights[node] for node in after) / sum(weights.values())
        state["candidate"] = {
            "release": plan["target"],
            "percent": percent,
            "shadow": 0.0,
            "nodes": list(done),
        }
    return state


def numbered(state: State, before: State) -> State:
    """Return `state` with the serial of `before`, raised by one if they differ in anything else."""
    same = {**state, "serial": 0} == {**before, "serial": 0}
    return {**state, "serial": before["serial"] + (not same)}


def ramped(state: State) -> State:
    """Return the State with every share that is below 100 one step up."""
    nodes = {
        node: {**entry, "share": next(share for share in RAMP if share > entry["share"])}
        if entry["share"] < 100
        else entry
        for node, entry in state["nodes"].items()
    }
    return {**state, "nodes": nodes}


def ramp_left(state: State) -> int:
    """Return how many steps it takes until every node that is up has its whole share."""
    return max(
        (
            sum(share > entry["share"] for share in RAMP)
            for entry in state["nodes"].values()
            if entry["status"] == "up"
        ),
        default=0,
    )


def _weight(hostvars: HostVars, node: str) -> int:
    """The share of the traffic that the inventory gives `node`, relative to the others."""
    return int(setting(hostvars, node, "model_endpoint_weight"))


def _concurrency(settings: Mapping[str, Any]) -> int:
    return int(settings["workers"]) * int(settings["threads"])


def upstream_servers(
    hostvars: HostVars, nodes: Sequence[str], state: State
) -> dict[str, list[dict[str, str | int | bool]]]:
    """Return the servers of each slot that takes, or may be asked for, traffic: by slot, in the inventory's order.

    Each is a dict of name, address, port, weight (the inventory's times its share, so 100 times for a whole
    one), concurrency (the requests it answers at a time) and down. Which nodes there are is the State's to say, how
    much each gets the inventory's, whatever hosts a run is limited to.

    Raises:
        AnsibleFilterError: when a slot has no server that is up.
    """
    hostvars = read_once(hostvars, nodes)
    drained = set(drained_nodes(hostvars, nodes, state))
    members = {state["live_slot"]: (state["live"], state["nodes"])}
    if candidate := state["candidate"]:
        up = {"status": "up", "share": 100}
        members[other_slot(state["live_slot"])] = (
            candidate["release"],
            dict.fromkeys(candidate["nodes"], up),
        )
    servers = {}
    for slot, (release, entries) in members.items():
        servers[slot] = [
            {
                **endpoint_address(hostvars, node, slot),
                "weight": _weight(hostvars, node) * int(entries[node]["share"]),
                "concurrency": _concurrency(release_settings(release, node)),
                "down": entries[node]["status"] != "up",
            }
            for node in nodes
            if node in entries and node not in drained
        ]
        if all(server["down"] for server in servers[slot]):
            raise AnsibleFilterError(
                f"no {slot} endpoint would be left to take traffic: bring a host of model_nodes back, or set "
                "model_endpoint_state: present on one"
            )
    return servers


def stray_slots(
    plan: Mapping[str, Any], state: State, hostvars: HostVars, nodes: Sequence[str]
) -> dict[str, str]:
    """Return the slot in which a node still runs a container that takes no traffic and is not to take any, by node.

    `hostvars` hold what each of `nodes` was found to run, as flotilla_machine.
    """
    other = other_slot(state["live_slot"])
    if state["candidate"]:
        return {}
    staged_in_vain = plan["target"] is not None and plan["target_slot"] == other
    return {
        node: other
        for node in nodes
        if staged_in_vain
        or hostvars[node]["flotilla_machine"]["containers"]
        .get(container_name(node, other), {})
        .get("running")
    }


def kept_releases(state: State) -> list[Release]:
    """Return the releases whose images are kept: the live one, the candidate, and those before."""
    candidate = [state["candidate"]["release"]] if state["candidate"] else []
    return [release for release in [state["live"], *candidate, *state["previous"]] if release]


def outcome(
    plan: Mapping[str, Any],
    state: State,
    serving: Sequence[str],
    nodes: Sequence[str],
    *,
    decided: str,
    reloaded: bool,
    faults: Sequence[str],
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Return how a run ended, in a word and in a sentence: result, message, and what is live.

    `state` is what the load balancers hold now, `serving` those of `nodes` that take traffic, `decided` the result
    where a step has said it already ("failed", "returned"), `reloaded` whether an Nginx was, `faults` what went wrong,
    `warnings` what will.
    """
    live = state["live"]["id"] if state["live"] else ""
    candidate = state["candidate"] or {"release": {"id": ""}, "percent": 0}
    if decided:
        result = decided
    elif plan["target"] and live == plan["target"]["id"]:
        result = "rolled back" if plan["verb"] == "rollback" else "released"
    elif plan["target"] and state["candidate"]:
        result = "canary" if candidate["percent"] else "shadow"
    else:
        result = "changed" if reloaded or state["serial"] != plan["state"]["serial"] else "unchanged"
    said = [
        f"release {live} is live on {len(serving)} of {len(nodes)} nodes" if live else "nothing is live",
        f"{candidate['release']['id']} gets {candidate['percent']} % of the requests"
        if state["candidate"]
        else "",
        plan["note"],
        *faults,
        *(f"warning: {line}" for line in warnings),
    ]
    return {
        "result": result,
        "message": "; ".join(filter(None, said)),
        "live": live,
        "live_slot": state["live_slot"],
        "candidate": candidate["release"]["id"],
        "percent": candidate["percent"],
        "previous": [release["id"] for release in state["previous"]],
        "nodes": state["nodes"],
        "warnings": list(warnings),
    }


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "container_settings": container_settings,
            "container_state": container_state,
            "gate": gate,
            "is_settled": is_settled,
            "kept_releases": kept_releases,
            "latest_state": latest_state,
            "missing_container": missing_container,
            "new_release": new_release,
            "next_state": next_state,
            "node_reports": node_reports,
            "numbered": numbered,
            "outcome": outcome,
            "ramp_left": ramp_left,
            "ramped": ramped,
            "release_plan": release_plan,
            "release_settings": release_settings,
            "rolling_state": rolling_state,
            "settings_of": settings_of,
            "step_hosts": step_hosts,
            "stray_slots": stray_slots,
            "unseen_endpoints": unseen_endpoints,
            "upstream_servers": upstream_servers,
            "with_reference": with_reference,
        }

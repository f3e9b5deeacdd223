"""Runs on the controller: what a run knows of the fleet, in the files that the page /fleet reads.

fleet_page/src/fleet_page/facts.py reads them; a test holds both together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import File
from ansible_collections.flotilla.fleet.plugins.plugin_utils.history import entries_of
from ansible_collections.flotilla.fleet.plugins.plugin_utils.operator import operator
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import Release, State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars, setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    container_name,
    drained_nodes,
    host_address,
    machine_name,
)

FORMAT = 1
FOLDER = "/var/lib/flotilla/fleet_page"
RUNS = 300
"""How many runs the page shows at most."""

Fields = dict[str, object]


class ModelsAt(TypedDict):
    """A container of the live release, in which its models can be read."""

    host: str
    container: str


def models_at(hostvars: HostVars, groups: Groups, state: State) -> list[ModelsAt]:
    """Return one container of the live release on a machine that this run has inspected; none where there is none."""
    for node in groups["model_nodes"]:
        entry = state["nodes"].get(node)
        if entry and entry["status"] == "up" and "flotilla_machine" in hostvars[node]:
            return [{"host": node, "container": container_name(node, state["live_slot"])}]
    return []


def fleet_facts_files(
    hostvars: HostVars, groups: Groups, present: Sequence[str], playbook: str, now: float
) -> list[File]:
    """Return the files that a run leaves on the monitoring host.

    `present` are the load balancers that were asked for their audit log (fleet_page_audit), the first of them also
    for the models (fleet_page_models). Models that could not be read keep the file that an earlier run left.
    """
    facts = hostvars[present[0]]
    state: State = facts["release_state"]
    logs = [hostvars[host].get("fleet_page_audit", {}) for host in present]
    runs = _with_this_run(entries_of(logs), facts.get("release_outcome", {}).get("audit"), playbook)
    files = [_file("fleet", _fleet(hostvars, groups, state, runs, now))]
    read = facts.get("fleet_page_models", {}).get("results", ())
    models = next((result["models"] for result in read if result.get("models")), None)
    if models and state["live"]:
        files.append(_file("models", _models(models, state["live"]["id"])))
    return files


def _file(name: str, content: Fields) -> File:
    return {"path": f"{FOLDER}/{name}.json", "content": json.dumps(content, ensure_ascii=False) + "\n"}


def _with_this_run(
    runs: Sequence[Mapping[str, str]], audit: Mapping[str, str] | None, playbook: str
) -> list[Fields]:
    """Return the runs, the last first: before the others this one, whose line is written when it frees the lock."""
    user, _, controller = operator().partition("@")
    own = [{"user": user, "controller": controller, "playbook": playbook, **audit}] if audit else []
    names = ("time", "started", "user", "controller", "playbook", "node", "result", "live", "message")
    return [{name: run.get(name, "") for name in names} for run in [*own, *runs][:RUNS]]


def _fleet(hostvars: HostVars, groups: Groups, state: State, runs: Sequence[Fields], now: float) -> Fields:
    live, candidate = state["live"], state["candidate"]
    order = [*([live] if live else []), *state["previous"]]
    releases = [_release(release, before) for release, before in zip(order, [*order[1:], None], strict=False)]
    return {
        "format": FORMAT,
        "time": now,
        "live_slot": state["live_slot"],
        "live": releases[0] if live else None,
        "candidate": candidate
        and {
            "release": _release(candidate["release"], live),
            "percent": candidate["percent"],
            "shadow": candidate["shadow"],
            "nodes": candidate["nodes"],
        },
        "previous": releases[1:] if live else releases,
        "nodes": _nodes(hostvars, groups, state),
        "load_balancers": [
            {"name": name, "machine": machine_name(hostvars, name)} for name in groups["load_balancers"]
        ],
        "runs": list(runs),
    }


def _nodes(hostvars: HostVars, groups: Groups, state: State) -> list[Fields]:
    drained = drained_nodes(hostvars, groups["model_nodes"], state)
    made: list[Fields] = []
    for node in groups["model_nodes"]:
        entry = state["nodes"].get(node)
        made.append(
            {
                "name": node,
                "machine": machine_name(hostvars, node),
                "address": host_address(hostvars, node, "model_endpoint_address"),
                "slot": state["live_slot"] if entry else "",
                "release": state["live"]["id"] if entry and state["live"] else "",
                "weight": int(setting(hostvars, node, "model_endpoint_weight")),
                "share": entry["share"] if entry else 0,
                "state": "drained" if node in drained else entry["status"] if entry else "not in the traffic",
                "reason": entry["reason"] if entry else "",
                "since": entry["since"] if entry else 0,
            }
        )
    return made


def _release(release: Release, before: Release | None) -> Fields:
    """Return a release, and in what it differs from the one `before` it."""
    return {
        "id": release["id"],
        "image": release["image"],
        "since": release["since"],
        "changed": _changes(release, before) if before else [],
        "given": [
            f"{name}={given['value'] or '…'} by {given['by']}"
            for name, given in sorted(release.get("given", {}).items())
        ],
    }


def _changes(release: Release, before: Release) -> list[str]:
    """Return in words what changed from one release to the next."""
    found = ["code, models or libraries (another image)"] if release["image"] != before["image"] else []
    now, then = release["settings"]["common"], before["settings"]["common"]
    found += [
        f"{name}: {_shown(then.get(name))} → {_shown(now.get(name))}"
        for name in sorted({*now, *then})
        if now.get(name) != then.get(name)
    ]
    own, owned = release["settings"]["nodes"], before["settings"]["nodes"]
    nodes = sorted(node for node in {*own, *owned} if own.get(node) != owned.get(node))
    if nodes:
        found.append(f"settings of {', '.join(nodes[:5])}{' and others' if len(nodes) > 5 else ''}")
    return found or ["nothing: it was released again"]


def _shown(value: object) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _models(models: Mapping[str, Mapping[str, Any]], release: str) -> Fields:
    return {"format": FORMAT, "release": release, "models": [_model(found) for found in models.values()]}


def _model(found: Mapping[str, Any]) -> Fields:
    """Return what the page shows of a model that module endpoint_models has read."""
    card, predictor = found["card"], found.get("predictor") or {}
    distribution = found.get("distribution") or {}
    return {
        "name": card["name"],
        "version": card["version"],
        "description": card.get("description", ""),
        "features": card["features"],
        "outputs": [output["name"] for output in card["outputs"]],
        "classes": [str(label) for label in card.get("classes") or []],
        "metrics": card.get("metrics", {}),
        "kind": predictor.get("kind", ""),
        "not_compiled": predictor.get("not_compiled", ""),
        "proof": predictor.get("proof", {}),
        "golden": found["golden"],
        "training": card["training_data_sha256"],
        "columns": distribution.get("columns", []),
        "answers": distribution.get("outputs", []),
    }

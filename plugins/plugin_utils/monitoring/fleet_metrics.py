"""Runs on the controller: what a run knows of the fleet, as metrics that node_exporter reads on load balancers.

Who holds the deploy lock is told by whoever takes or frees it: see module_utils/lock_metrics.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.flotilla.fleet.plugins.module_utils.lock_metrics import (
    METRICS_FOLDER,
    Metric,
    metrics_text,
    run_metrics,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import File
from ansible_collections.flotilla.fleet.plugins.plugin_utils.operator import user_name
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.commit import FinishStep
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import (
    facts_of,
    release_settings_of,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars, State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import drained_nodes

FAILED = frozenset({"failed", "refused", "returned"})
"""The results of runs that did not do what they were to do."""


def fleet_metrics_step(
    hostvars: HostVars, groups: Groups, present: Sequence[str], outcome: FinishStep, playbook: str, now: float
) -> list[File]:
    """Return the files of metrics that a run leaves on each load balancer at its end."""
    facts = facts_of(hostvars, present)
    result = outcome["verdict"]["result"]
    failed = result in FAILED or bool(outcome["faults"])
    files = [_file("run", run_metrics(str(now), playbook, user_name(), result, failed=failed))]
    if facts.get("release_looked", True):
        least = release_settings_of(hostvars, groups)["min_nodes"]
        plan, nodes = facts["release_plan"], list(groups["model_nodes"])
        if plan["operation"] == "remove":
            nodes = [node for node in nodes if node != plan["node"]]
        state = facts["release_state"]
        drained = drained_nodes(hostvars, nodes, state)
        files.append(_file("fleet", metrics_text(_of_fleet(state, nodes, drained, least))))
    return files


def difference_metrics(differences: Sequence[Mapping[str, object]], now: float) -> list[File]:
    """Return the file of metrics that a comparison of the whole fleet leaves on each load balancer."""
    metrics: list[Metric] = [
        ("flotilla_fleet_differences", "Differences that were found.", {}, len(differences)),
        ("flotilla_fleet_differences_seen_timestamp_seconds", "When they were looked for.", {}, now),
    ]
    return [_file("differences", metrics_text(metrics))]


def _of_fleet(state: State, nodes: Sequence[str], drained: Sequence[str], least: int) -> Iterator[Metric]:
    live, candidate = state["live"], state["candidate"]
    if live:
        name = "flotilla_fleet_live_release_info"
        yield name, "The release that answers.", {"release": live["id"]}, 1
        yield "flotilla_fleet_live_since_timestamp_seconds", "Since when.", {}, live["since"]
    serving = {node for node in nodes if node not in drained}
    up = {name for name, entry in state["nodes"].items() if entry["status"] == "up"}
    counts = {
        "wanted": len(nodes),
        "up": len(serving & up),
        "down": len(serving - up),
        "drained": len(drained),
    }
    for name, count in counts.items():
        yield "flotilla_fleet_nodes", "Nodes by their state.", {"state": name}, count
    yield "flotilla_fleet_min_nodes", "How many nodes a release needs.", {}, least
    since, percent = (candidate["release"]["since"], candidate["percent"]) if candidate else (0, 0)
    name = "flotilla_fleet_candidate_since_timestamp_seconds"
    yield name, "Since when a candidate is beside the live release, 0 without one.", {}, since
    yield "flotilla_fleet_candidate_percent", "Its share of the requests.", {}, percent


def _file(name: str, content: str) -> File:
    return {"path": f"{METRICS_FOLDER}/{name}.prom", "content": content}

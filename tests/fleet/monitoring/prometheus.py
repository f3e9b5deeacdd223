"""What Prometheus on the monitoring host has collected."""

import json
from typing import Any

from fleet.fleet import Fleet
from fleet.machine import wait_until
from fleet.ports import PROMETHEUS

ASK = """
import sys, urllib.parse, urllib.request
port, path, *query = sys.argv[1:]
query = urllib.parse.urlencode([tuple(part.split("=", 1)) for part in query])
sys.stdout.write(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}?{query}", timeout=10).read().decode())
"""


def ask(fleet: Fleet, path: str, *query: str, port: int = PROMETHEUS) -> Any:
    """Return what a program on the monitoring host's loopback answers; each part of the query is NAME=VALUE."""
    return json.loads(fleet.monitoring.run("python3", "-", str(port), path, *query, stdin=ASK))


def targets(fleet: Fleet) -> dict[str, dict[str, dict[str, str]]]:
    """Return the labels of each target with its `health`, by job and instance."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for target in ask(fleet, "/api/v1/targets", "state=active")["data"]["activeTargets"]:
        labels = {**target["labels"], "health": target["health"], "error": target["lastError"]}
        found.setdefault(labels["job"], {})[labels["instance"]] = labels
    return found


def faults(fleet: Fleet) -> dict[str, str]:
    """Return the targets that are not up, with the reason."""
    return {
        f"{job} {instance}": labels["error"] or labels["health"]
        for job, instances in targets(fleet).items()
        for instance, labels in instances.items()
        if labels["health"] != "up"
    }


def values(fleet: Fleet, expression: str) -> list[dict[str, Any]]:
    """Return the labels of each series of an expression, with its `value`."""
    result = ask(fleet, "/api/v1/query", f"query={expression}")["data"]["result"]
    return [{**series["metric"], "value": float(series["value"][1])} for series in result]


def wait_for_targets(fleet: Fleet, job: str, instances: set[str], seconds: float = 60) -> None:
    """Return once these, and no others, are the targets of a job and all are up."""

    def are_up() -> bool:
        found = targets(fleet).get(job, {})
        return found.keys() == instances and all(labels["health"] == "up" for labels in found.values())

    wait_until(f"the targets of {job} are {sorted(instances)} and up", are_up, seconds)

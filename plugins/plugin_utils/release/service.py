"""Runs on the controller: how an endpoint's container is run, as role container takes it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TypedDict

from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import ENDPOINTS_NETWORK
from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import (
    ENDPOINT_USER,
    ENDPOINTS_FOLDER,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import mounted
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import release_settings
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import published_address
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import HostVars, Release
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    container_name,
    with_port,
)

CONTAINER_PORT = 5001
"""The port on which an endpoint listens in its container."""

STOP_SECONDS = 40
"""How long a container may take to stop: its requests in flight get 30 s."""

RECIPE_FILE = "container/tasks/run.yml"
"""The file of roles that says how a service's container is run."""


class HealthCheck(TypedDict):
    """How the engine checks a container's health."""

    test: list[str]
    interval: str
    timeout: str
    retries: int
    start_period: str


class EndpointService(TypedDict):
    """What role container runs for an endpoint."""

    name: str
    image: str
    user: int
    memory: str
    cpus: float
    pids_limit: int
    network: str
    ports: list[str]
    """ADDRESS:PORT:CONTAINER_PORT."""
    volumes: list[str]
    tmpfs: list[str]
    stop_timeout: int
    env: dict[str, str]
    healthcheck: HealthCheck
    labels: dict[str, str]


HEALTH_CHECK: HealthCheck = {
    "test": ["CMD", "python3", "-m", "model_endpoint.runtime.health"],
    "interval": "15s",
    "timeout": "5s",
    "retries": 3,
    "start_period": "60s",
}
"""For people and monitors. The gate and the load balancers ask the endpoint, as each check here starts a Python."""


def endpoint_service(hostvars: HostVars, node: str, release: Release, slot: str) -> EndpointService:
    """Return how `node`'s container of `release` is run in `slot`."""
    settings = release_settings(release, node)
    published = published_address(hostvars, release, node, slot)
    captures = capture_folder(release, node)
    limits = settings.get("row_limits")
    return {
        "name": container_name(node, slot),
        "image": release["reference"],
        "user": ENDPOINT_USER,
        "memory": str(settings["memory"]),
        "cpus": float(settings["cpus"] or 0),
        "pids_limit": int(settings["pids_limit"] or 0),
        "network": ENDPOINTS_NETWORK,
        # The container listens on one port. Its two slots differ in the port of the host.
        "ports": [f"{with_port(published['address'], published['port'])}:{CONTAINER_PORT}"],
        # The folder of the certificates and not the files, which are replaced.
        "volumes": mounted(
            [f"{ENDPOINTS_FOLDER}/{node}:/etc/endpoint:ro", *([f"{captures}:/capture"] if captures else [])],
            hostvars[node].get("flotilla_machine") or {},
        ),
        "tmpfs": ["/tmp:mode=1777,size=64m"],  # noqa: S108  # in the container
        "stop_timeout": STOP_SECONDS,
        "env": {
            "FLOTILLA_ENDPOINT": node,
            "FLOTILLA_RELEASE": release["id"],
            "FLOTILLA_TLS": "/etc/endpoint",
            "FLOTILLA_WORKERS": str(settings["workers"]),
            "FLOTILLA_THREADS": str(settings["threads"]),
            "FLOTILLA_MAX_BODY": str(settings["body_limit"]),
            # Releases of earlier versions have none.
            **({"FLOTILLA_ROW_LIMITS": str(limits)} if limits not in (None, "{}") else {}),
            "FLOTILLA_FAST_PATH": str(settings["fast_path"]).lower(),
            # What images of version 0.1.0 read, which a fleet that has taken such a release over can go back to.
            "FLOTILLA_FAST_LANE": str(settings["fast_path"]).lower(),
            "FLOTILLA_LOG_SAMPLE": str(settings["log_sample"]),
            "FLOTILLA_CAPTURE_FILE": "/capture/requests.jsonl" if captures else "",
            "FLOTILLA_CAPTURE_SAMPLE": str(settings["capture_sample"]),
            "FLOTILLA_CAPTURE_BYTES": str(settings["capture_bytes"]),
        },
        "healthcheck": HEALTH_CHECK,
        "labels": {
            "flotilla.role": "endpoint",
            "flotilla.endpoint": node,
            "flotilla.slot": slot,
            "flotilla.release": release["id"],
        },
    }


def capture_folder(release: Release, node: str) -> str:
    """Return the folder of the machine where `node`'s endpoint keeps captured requests; empty where it keeps none."""
    settings = release_settings(release, node)
    return f"{settings['capture_directory']}/{node}" if float(settings["capture_sample"] or 0) > 0 else ""


def container_recipe(roles: Path = Path(__file__).parents[3] / "roles") -> str:
    """Return a hash of how endpoints' containers are run, since a change makes other containers.

    It is a hash of role container's text in the folder `roles`, and of what endpoint_service returns for a release
    that stands for all.
    """
    specimen: Release = {
        "id": "id",
        "image": "image",
        "reference": "reference",
        "settings": {
            "common": {
                "workers": 1,
                "threads": 2,
                "cpus": 3.0,
                "memory": "4m",
                "pids_limit": 5,
                "body_limit": 6,
                "row_limits": '{"model": 6}',
                "fast_path": True,
                "log_sample": 0.7,
                "capture_sample": 0.8,
                "capture_directory": "/capture",
                "capture_bytes": 9,
            },
            "nodes": {},
        },
        "since": 0,
    }
    service = endpoint_service({"192.0.2.1": {}}, "192.0.2.1", specimen, "blue")
    made = json.dumps(service, sort_keys=True) + (roles / RECIPE_FILE).read_text(encoding="utf-8")
    return hashlib.sha256(made.encode()).hexdigest()[:8]


RECIPE = container_recipe()
"""The hash for this version of Flotilla."""

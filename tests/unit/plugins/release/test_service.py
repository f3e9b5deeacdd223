"""How an endpoint's container is run, and when a change of that makes another container."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import (
    different_settings,
    wanted_settings,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release import service
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.service import (
    RECIPE_FILE,
    capture_folder,
    container_recipe,
    endpoint_service,
)

from unit.plugins.release.fleet import Fleet

ROLES = Path(__file__).parents[4] / "roles"

MADE_BEFORE: dict[str, Any] = {
    "command": [],
    "user": "10001:10001",
    "network": "bridge",
    "ports": ["10.0.0.1:5001:5001"],
    "volumes": ["/etc/flotilla/endpoints/n1:/etc/endpoint:ro"],
    "tmpfs": {"/tmp": "mode=1777,size=64m"},
    "read_only": True,
    "cap_drop": ["ALL"],
    "capabilities": [],
    "security_opts": ["no-new-privileges:true"],
    "memory": 512 << 20,
    "cpus": 1.0,
    "pids_limit": 256,
    "restart_policy": "unless-stopped",
    "log": {"driver": "json-file", "max-file": "3", "max-size": "10m"},
}
"""What module machine_state told of an endpoint's container that an earlier commit had made."""


def made(fleet: Fleet, node: str = "n1", slot: str = "blue") -> Any:
    return endpoint_service(fleet.hostvars, node, fleet.state["live"], slot)


def test_an_endpoint_is_run_as_the_release_says_and_knows_its_name(fleet: Fleet) -> None:
    fleet.hostvars["n1"]["model_endpoint_workers"] = 7  # not released yet
    assert made(fleet) == {
        "name": "flotilla-n1-blue",
        "image": "registry/image-1",
        "user": 10001,
        "memory": "512m",
        "cpus": 1.0,
        "pids_limit": 256,
        "ports": ["10.0.0.1:5001:5001"],
        "volumes": ["/etc/flotilla/endpoints/n1:/etc/endpoint:ro"],
        "network": "flotilla",
        "tmpfs": ["/tmp:mode=1777,size=64m"],
        "stop_timeout": 40,
        "env": {
            "FLOTILLA_ENDPOINT": "n1",
            "FLOTILLA_RELEASE": fleet.live,
            "FLOTILLA_TLS": "/etc/endpoint",
            "FLOTILLA_WORKERS": "2",
            "FLOTILLA_THREADS": "1",
            "FLOTILLA_MAX_BODY": "1048576",
            "FLOTILLA_FAST_PATH": "true",
            "FLOTILLA_FAST_LANE": "true",
            "FLOTILLA_LOG_SAMPLE": "0.01",
            "FLOTILLA_CAPTURE_FILE": "",
            "FLOTILLA_CAPTURE_SAMPLE": "0.0",
            "FLOTILLA_CAPTURE_BYTES": "10000000",
        },
        "healthcheck": {
            "test": ["CMD", "python3", "-m", "model_endpoint.runtime.health"],
            "interval": "15s",
            "timeout": "5s",
            "retries": 3,
            "start_period": "60s",
        },
        "labels": {
            "flotilla.role": "endpoint",
            "flotilla.endpoint": "n1",
            "flotilla.slot": "blue",
            "flotilla.release": fleet.live,
        },
    }


def test_the_slots_differ_in_their_names_and_in_the_port_of_the_host(fleet: Fleet) -> None:
    blue, green = made(fleet), made(fleet, slot="green")
    assert {name for name in blue if blue[name] != green[name]} == {"name", "ports", "labels"}
    assert (green["name"], green["ports"]) == ("flotilla-n1-green", ["10.0.0.1:5002:5001"])


def test_the_container_of_an_earlier_commit_differs_in_its_network_alone(fleet: Fleet) -> None:
    before = {**MADE_BEFORE, "environment": made(fleet)["env"]}
    assert different_settings(before, wanted_settings(made(fleet))) == ["network"]
    assert different_settings({**before, "cpus": 2.0}, wanted_settings(made(fleet))) == ["cpus", "network"]


def test_requests_are_captured_in_a_folder_of_the_endpoint(fleet: Fleet) -> None:
    assert capture_folder(fleet.state["live"], "n1") == ""
    fleet.hostvars["n1"].update(
        model_endpoint_capture_sample="0.5", model_endpoint_capture_directory="/srv/c"
    )
    fleet.run()
    assert capture_folder(fleet.state["live"], "n1") == "/srv/c/n1"
    assert made(fleet)["volumes"][1:] == ["/srv/c/n1:/capture"]
    assert made(fleet)["env"]["FLOTILLA_CAPTURE_FILE"] == "/capture/requests.jsonl"
    assert made(fleet)["env"]["FLOTILLA_CAPTURE_SAMPLE"] == "0.5"
    assert capture_folder(fleet.state["live"], "n2") == ""


def test_what_images_of_version_0_1_0_read_is_what_the_release_says(fleet: Fleet) -> None:
    fleet.hostvars["n1"]["model_endpoint_fast_path"] = False
    fleet.run()
    assert made(fleet)["env"]["FLOTILLA_FAST_LANE"] == made(fleet)["env"]["FLOTILLA_FAST_PATH"] == "false"


def test_a_container_is_another_when_how_it_is_run_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (ROLES / RECIPE_FILE).exists()
    (tmp_path / RECIPE_FILE).parent.mkdir(parents=True)
    (tmp_path / RECIPE_FILE).write_text("one")
    first = container_recipe(tmp_path)
    assert len(first) == 8
    (tmp_path / RECIPE_FILE).write_text("other")
    assert container_recipe(tmp_path) != first
    (tmp_path / RECIPE_FILE).write_text("one")
    assert container_recipe(tmp_path) == first
    monkeypatch.setattr(service, "STOP_SECONDS", 41)
    assert container_recipe(tmp_path) != first


def test_row_limits_are_part_of_the_release(fleet: Fleet) -> None:
    assert "FLOTILLA_ROW_LIMITS" not in made(fleet)["env"]
    live = fleet.state["live"]
    assert live is not None
    live["settings"]["common"]["row_limits"] = '{"churn": 5000}'
    assert made(fleet)["env"]["FLOTILLA_ROW_LIMITS"] == '{"churn": 5000}'

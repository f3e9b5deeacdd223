"""What collects metrics is compared as all else is: containers that are wanted, files, and containers that are not."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.files import file_differences
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.unexplained import (
    unexplained_differences,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import File, file_states
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.programs import (
    differing_programs,
    rule_files,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    EXPORTER_CONTAINER,
    MONITORING_CONTAINERS,
)

import small_fleet
from watched_fleet import GROUPS, HOSTVARS

ROLES = {
    EXPORTER_CONTAINER: "node_exporter",
    **dict(zip(MONITORING_CONTAINERS, ("prometheus", "alertmanager", "fleet_page"), strict=True)),
}
FILES: list[File] = [{"path": "/etc/flotilla/prometheus/prometheus.yml", "content": "a\n"}]


def machine(*containers: str) -> dict[str, Any]:
    found = {name: {"running": True, "labels": {"flotilla.role": ROLES.get(name, "")}} for name in containers}
    return {"flotilla_machine": {"containers": found, "files": {}}}


def unexplained(groups: dict[str, list[str]], **containers: list[str]) -> list[Difference]:
    hostvars = {host: {**HOSTVARS[host], **machine(*names)} for host, names in containers.items()}
    fleet = Fleet.of({**HOSTVARS, **hostvars}, groups, list(hostvars), list(hostvars), None, 0)
    return list(unexplained_differences(fleet))


def test_the_containers_of_a_monitored_fleet_are_explained() -> None:
    assert unexplained(GROUPS, node1=[EXPORTER_CONTAINER], watch=list(ROLES)) == []


def test_what_collects_metrics_elsewhere_is_removed_by_the_next_run() -> None:
    found = unexplained(GROUPS, node1=[EXPORTER_CONTAINER, "flotilla-prometheus", "flotilla-mine"], watch=[])
    assert [(entry["host"], entry["thing"], entry["mended_by"]) for entry in found] == [
        ("node1", "container flotilla-mine", "docker rm --force flotilla-mine"),
        ("node1", "container flotilla-prometheus", "site.yml"),
    ]
    without = unexplained(small_fleet.GROUPS, node1=[EXPORTER_CONTAINER])
    assert [(entry["thing"], entry["change"]) for entry in without] == [
        (f"container {EXPORTER_CONTAINER}", f"remove the container {EXPORTER_CONTAINER}")
    ]


def test_files_that_the_monitoring_host_lacks_are_differences() -> None:
    wanted = {"monitoring_wanted": {"services": [], "files": file_states(FILES)}}
    hostvars = {**HOSTVARS, "watch": {**HOSTVARS["watch"], **machine(), **wanted}}
    fleet = Fleet.of(hostvars, GROUPS, ["watch"], ["watch"], None, 0)
    assert [(entry["host"], entry["thing"]) for entry in file_differences(fleet)] == [
        ("watch", "file /etc/flotilla/prometheus/prometheus.yml")
    ]


def test_a_program_is_run_anew_for_its_container_and_for_its_files() -> None:
    service: dict[str, Any] = {
        "name": "flotilla-prometheus",
        "image": "i",
        "user": 1,
        "memory": "1g",
        "pids_limit": 1,
        "labels": {},
    }
    program: Any = {"service": service, "files": FILES}
    missing = {"containers": {}, "files": file_states(FILES)}
    assert differing_programs(missing, [program], {}) == [program]
    settings = {
        "command": [],
        "user": "1:1",
        "network": "bridge",
        "ports": [],
        "volumes": [],
        "tmpfs": {},
        "read_only": True,
        "cap_drop": ["ALL"],
        "capabilities": [],
        "memory": 1 << 30,
        "cpus": 0.0,
        "security_opts": ["no-new-privileges:true"],
        "pids_limit": 1,
        "restart_policy": "unless-stopped",
        "log": {"driver": "json-file", "max-file": "3", "max-size": "10m"},
        "environment": {},
    }
    container = {
        "running": True,
        "health": "",
        "image": "i",
        "image_id": "",
        "labels": {},
        "settings": settings,
        "newer_files": False,
    }
    there = {"containers": {"flotilla-prometheus": container}, "files": file_states(FILES)}
    assert differing_programs(there, [program], {}) == []
    assert differing_programs({**there, "files": {}}, [program], {}) == [program]


def test_the_role_s_files_of_rules_go_into_the_folder() -> None:
    for file in rule_files("/etc/flotilla/prometheus/rules"):
        assert file["path"].startswith("/etc/flotilla/prometheus/rules/")
        assert file["content"]

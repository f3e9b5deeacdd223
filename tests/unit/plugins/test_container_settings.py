"""What the engine tells of a container that role container runs equals what the service's dict says."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import (
    different_settings,
    has_newer_files,
    inspected_settings,
    seconds_of,
    size_in_bytes,
    wanted_settings,
)

ROOT = Path(__file__).parents[3]

NGINX: dict[str, Any] = {
    "name": "flotilla-nginx",
    "image": "flotilla/nginx:abc",
    "command": ["/usr/sbin/nginx"],
    "user": 10002,
    "network": "host",
    "tmpfs": ["/run/nginx:uid=10002,gid=10002,mode=0700,size=256m"],
    "capabilities": ["NET_BIND_SERVICE"],
    "memory": "512m",
    "pids_limit": 256,
    "volumes": ["/etc/flotilla/nginx:/etc/nginx:ro", "/var/log/flotilla:/var/log/nginx"],
    "log_size": "50m",
    "env": {"FLOTILLA_A": "1=1"},
}
# As Docker 26.1 tells of the container that commit 228b441 runs.
NGINX_INSPECTED: dict[str, Any] = {
    "Config": {"Cmd": ["/usr/sbin/nginx"], "User": "10002:10002", "Env": ["FLOTILLA_A=1=1"]},
    "HostConfig": {
        "Binds": ["/etc/flotilla/nginx:/etc/nginx:ro", "/var/log/flotilla:/var/log/nginx:rw"],
        "LogConfig": {"Type": "json-file", "Config": {"max-file": "3", "max-size": "50m"}},
        "NetworkMode": "host",
        "PortBindings": {},
        "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
        "CapAdd": ["CAP_NET_BIND_SERVICE"],
        "CapDrop": ["ALL"],
        "ReadonlyRootfs": True,
        "SecurityOpt": None,
        "Tmpfs": {"/run/nginx": "uid=10002,gid=10002,mode=0700,size=256m"},
        "Memory": 536870912,
        "MemorySwap": 536870912,
        "NanoCpus": 0,
        "PidsLimit": 256,
    },
    "State": {"StartedAt": "2025-01-01T12:00:00.123456789Z"},
}
REGISTRY: dict[str, Any] = {
    "name": "flotilla-registry",
    "image": "flotilla/registry:abc",
    "command": ["/usr/bin/docker-registry", "serve", "/etc/registry/pull.yml"],
    "user": 10003,
    "memory": "1.5G",
    "cpus": 0.5,
    "pids_limit": 256,
    "ports": ["[2001:db8::1]:5000:5000", "10.0.0.1:5000:5000"],
    "volumes": ["/etc/flotilla/registry:/etc/registry:ro"],
}
REGISTRY_INSPECTED: dict[str, Any] = {
    "Config": {"Cmd": REGISTRY["command"], "User": "10003:10003"},
    "HostConfig": {
        "Binds": ["/etc/flotilla/registry:/etc/registry:ro"],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        "NetworkMode": "default",
        "PortBindings": {
            "5000/tcp": [
                {"HostIp": "10.0.0.1", "HostPort": "5000"},
                {"HostIp": "2001:db8::1", "HostPort": "5000"},
            ]
        },
        "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
        "CapAdd": None,
        "CapDrop": ["ALL"],
        "ReadonlyRootfs": True,
        "SecurityOpt": ["no-new-privileges:true"],
        "Memory": 1610612736,
        "NanoCpus": 500000000,
        "PidsLimit": 256,
    },
}


@pytest.mark.parametrize(("service", "inspected"), [(NGINX, NGINX_INSPECTED), (REGISTRY, REGISTRY_INSPECTED)])
def test_a_container_run_as_its_service_says_does_not_differ(
    service: dict[str, Any], inspected: dict[str, Any]
) -> None:
    assert inspected_settings(inspected) == wanted_settings(service)
    assert different_settings(inspected_settings(inspected), wanted_settings(service)) == []


@pytest.mark.parametrize(
    ("place", "key", "value", "name"),
    [
        ("Config", "Cmd", ["/bin/sh"], "command"),
        ("Config", "User", "", "user"),
        ("HostConfig", "NetworkMode", "default", "network"),
        ("HostConfig", "PortBindings", {"80/tcp": [{"HostIp": "", "HostPort": "80"}]}, "ports"),
        ("HostConfig", "Binds", ["/etc/flotilla/nginx:/etc/nginx:rw"], "volumes"),
        ("HostConfig", "Tmpfs", {}, "tmpfs"),
        ("HostConfig", "ReadonlyRootfs", False, "read_only"),
        ("HostConfig", "CapDrop", None, "cap_drop"),
        ("HostConfig", "CapAdd", ["NET_BIND_SERVICE", "SYS_ADMIN"], "capabilities"),
        ("HostConfig", "SecurityOpt", ["seccomp=unconfined"], "security_opts"),
        ("HostConfig", "Memory", 1 << 30, "memory"),
        ("HostConfig", "NanoCpus", 2000000000, "cpus"),
        ("HostConfig", "PidsLimit", 32, "pids_limit"),
        ("HostConfig", "RestartPolicy", {"Name": "no"}, "restart_policy"),
        ("HostConfig", "LogConfig", {"Type": "journald", "Config": {}}, "log"),
        ("Config", "Env", ["PATH=/bin", "FLOTILLA_A=2"], "environment"),
    ],
)
def test_each_setting_that_differs_is_named(place: str, key: str, value: object, name: str) -> None:
    inspected = copy.deepcopy(NGINX_INSPECTED)
    inspected[place][key] = value
    assert different_settings(inspected_settings(inspected), wanted_settings(NGINX)) == [name]


@pytest.mark.parametrize("key", ["Memory", "PidsLimit"])
def test_a_limit_that_the_kernel_can_not_set_is_no_difference(key: str) -> None:
    inspected = copy.deepcopy(NGINX_INSPECTED)
    inspected["HostConfig"][key] = None
    assert different_settings(inspected_settings(inspected), wanted_settings(NGINX)) == []


def test_configuration_that_is_newer_than_the_start_is_seen(tmp_path: Path) -> None:
    inspected = copy.deepcopy(NGINX_INSPECTED)
    inspected["HostConfig"]["Binds"] = [
        f"{tmp_path}/etc/files:/etc/nginx:ro",
        f"{tmp_path}/etc/logs:/logs:rw",
        f"{tmp_path}/images:/images:ro",
    ]
    started = 1735732800.123
    written_at = {"etc/files/deep/old": started - 1, "etc/logs/new": started + 1, "images/new": started + 1}
    for name, written in written_at.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(name)
        os.utime(path, (written, written))
    assert not has_newer_files(inspected, f"{tmp_path}/etc/")
    os.utime(tmp_path / "etc/files/deep/old", (started + 1, started + 1))
    assert has_newer_files(inspected, f"{tmp_path}/etc/")


def test_a_variable_of_the_image_is_no_difference() -> None:
    inspected = copy.deepcopy(NGINX_INSPECTED)
    inspected["Config"]["Env"].append("PATH=/bin")
    assert different_settings(inspected_settings(inspected), wanted_settings(NGINX)) == []


def test_the_engine_s_times_are_read_whatever_digits_and_zone_they_have() -> None:
    times = [
        "2025-01-01T12:00:00.25Z",
        "2025-01-01T12:00:00.250000000Z",
        "2025-01-01T13:00:00.250+01:00",
        "2025-01-01T12:00:00.250000009Z",
    ]
    assert {round(seconds_of(time), 6) for time in times} == {1735732800.25}
    assert seconds_of("2025-01-01T12:00:00Z") == 1735732800


def test_sizes_are_read_as_docker_reads_them() -> None:
    sizes: dict[str | int, int] = {
        "512m": 1 << 29,
        "512MB": 1 << 29,
        "1g": 1 << 30,
        "1.5GiB": 3 << 29,
        "4096": 4096,
        4096: 4096,
    }
    assert {size: size_in_bytes(size) for size in sizes} == sizes
    with pytest.raises(ValueError, match="'much' is no size"):
        size_in_bytes("much")


def test_role_container_gives_every_container_what_is_compared() -> None:
    tasks = yaml.safe_load((ROOT / "roles" / "container" / "tasks" / "run.yml").read_text())
    (run,) = [task["community.docker.docker_container"] for task in tasks if is_run(task)]
    wanted = wanted_settings({"user": 1, "memory": "1m", "pids_limit": 1})
    same = {"read_only", "cap_drop", "restart_policy"}
    assert {name: run[name] for name in same} == {
        name: value for name, value in wanted.items() if name in same
    }
    assert run["log_driver"] == wanted["log"]["driver"]
    assert run["log_options"]["max-file"] == wanted["log"]["max-file"]
    assert f"default('{wanted['log']['max-size']}')" in run["log_options"]["max-size"]
    assert str(wanted["security_opts"]) in run["security_opts"]
    assert run["memory_swap"] == run["memory"]


def is_run(task: dict[str, Any]) -> bool:
    return "community.docker.docker_container" in task

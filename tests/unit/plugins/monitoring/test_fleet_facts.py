"""What a run leaves for the page /fleet: the page reads it, and each part is as the run knows it."""

from __future__ import annotations

import base64
import json
import types
from pathlib import Path
from typing import Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.fleet_facts import (
    fleet_facts_files,
    models_at,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.page_files import page_files

from fleet_page import facts
from generated_fleet import read_models
from unit.plugins import module_process
from watched_fleet import GROUPS, HOSTVARS, candidate, entry, release, state

AUDIT = {"time": "2026-01-01T00:00:00+00:00", "result": "released", "message": "r1 is live", "live": "r1"}


def left(tmp_path: Path, **known: Any) -> tuple[facts.Fleet, facts.Models]:
    """Return what the page reads after a run whose load balancer has these facts."""
    own = {"release_state": state(), **known}
    hostvars: Any = {**HOSTVARS, "lb1": {**HOSTVARS["lb1"], **own}}
    for file in fleet_facts_files(hostvars, GROUPS, ["lb1"], "site.yml", 5000.0):
        (tmp_path / Path(file["path"]).name).write_text(file["content"])
    if not (tmp_path / "models.json").exists():
        return facts.read_fleet(tmp_path), facts.NO_MODELS
    return facts.read_fleet(tmp_path), facts.read_models(tmp_path)


def wrong(value: object, kind: Any, place: str = "") -> list[str]:
    """Return where a value is not what a type says."""
    origin = get_origin(kind)
    if origin is NotRequired:
        return wrong(value, get_args(kind)[0], place)
    if is_typeddict(kind):
        if not isinstance(value, dict):
            return [place]
        hints = get_type_hints(kind, include_extras=True)
        needed = {name for name, hint in hints.items() if get_origin(hint) is not NotRequired}
        found = [f"{place}.{name} is missing" for name in needed - value.keys()]
        return found + [
            line
            for name, hint in hints.items()
            if name in value
            for line in wrong(value[name], hint, f"{place}.{name}")
        ]
    if origin is list:
        assert isinstance(value, list)
        return [
            line for at, one in enumerate(value) for line in wrong(one, get_args(kind)[0], f"{place}[{at}]")
        ]
    if origin is dict:
        assert isinstance(value, dict)
        return [
            line for name, one in value.items() for line in wrong(one, get_args(kind)[1], f"{place}.{name}")
        ]
    if origin in (Union, types.UnionType):
        return [] if any(not wrong(value, one, place) for one in get_args(kind)) else [place]
    allowed = (int, float) if kind is float else kind
    return [] if isinstance(value, allowed) else [place]


def test_the_page_reads_what_a_run_leaves(tmp_path: Path) -> None:
    before = release("r0", 500)
    fleet, models = left(
        tmp_path,
        release_state=state(candidate=candidate("r2", ["node1"]), previous=[before]),
        fleet_page_models={"results": [{"models": read_models(["penguins", "iris", "breast_cancer"])}]},
        release_outcome={"audit": AUDIT},
    )
    assert wrong(fleet, facts.Fleet) == []
    assert wrong(models, facts.Models) == []
    assert wrong({**models, "models": [{}]}, facts.Models)
    assert [model["name"] for model in models["models"]] == ["penguins", "iris", "breast_cancer"]
    assert models["models"][0]["golden"] == 3
    assert models["models"][0]["proof"]["random_rows"] == 20000
    assert models["release"] == "r1"


def test_a_node_is_drained_down_or_not_in_the_traffic(tmp_path: Path) -> None:
    fleet, _ = left(tmp_path, release_state=state(nodes={"node1": entry("down")}, drained=["node1"]))
    assert {node["name"]: node["state"] for node in fleet["nodes"]} == {
        "node1": "drained",
        "node2": "not in the traffic",
    }
    assert [node["release"] for node in fleet["nodes"]] == ["r1", ""]


def test_the_runs_are_those_of_the_logs_and_this_one(tmp_path: Path) -> None:
    old = {
        **AUDIT,
        "user": "u",
        "controller": "c",
        "playbook": "drain.yml",
        "started": "2025-12-31T23:58:00+00:00",
    }
    log = base64.b64encode((json.dumps(old) + "\nno line").encode()).decode()
    fleet, _ = left(
        tmp_path, fleet_page_audit={"content": log}, release_outcome={"audit": {**AUDIT, "node": "node1"}}
    )
    assert [run["playbook"] for run in fleet["runs"]] == ["site.yml", "drain.yml"]
    assert fleet["runs"][0]["node"] == "node1"
    assert fleet["runs"][1]["started"] == old["started"]


def test_a_release_tells_what_changed(tmp_path: Path) -> None:
    live, before = release("r1"), release("r0", 500)
    live["settings"]["common"] = {"port": 5001, "workers": 4}
    live["given"] = {"model_endpoint_workers": {"value": "4", "by": "mara@bastion", "time": "t"}}
    fleet, _ = left(tmp_path, release_state=state(live=live, previous=[before]))
    assert fleet["live"]
    assert fleet["live"]["changed"] == ["workers: unset \N{RIGHTWARDS ARROW} 4"]
    assert fleet["live"]["given"] == ["model_endpoint_workers=4 by mara@bastion"]
    assert fleet["previous"][0]["changed"] == []


def test_models_that_could_not_be_read_stay_those_of_an_earlier_run(tmp_path: Path) -> None:
    failed = {"results": [{"failed": True, "msg": "no such container"}]}
    hostvars: Any = {**HOSTVARS, "lb1": {"release_state": state(), "fleet_page_models": failed}}
    files = fleet_facts_files(hostvars, GROUPS, ["lb1"], "site.yml", 1.0)
    assert [Path(file["path"]).name for file in files] == ["fleet.json"]


def test_models_are_read_on_a_node_that_the_run_has_inspected() -> None:
    assert models_at(HOSTVARS, GROUPS, state()) == []
    hostvars: Any = {**HOSTVARS, "node2": {**HOSTVARS["node2"], "flotilla_machine": {}}}
    found = state()
    assert models_at(hostvars, GROUPS, found) == [
        {"host": "node2", "container": f"flotilla-node2-{found['live_slot']}"}
    ]
    assert models_at(hostvars, GROUPS, state(nodes={"node1": entry()})) == []


def test_the_models_of_a_container_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for docker runs the module's script on a folder of models."""
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text('{"card": {"name": "m"}, "predictor": {"kind": "k"}}')
    (folder / "golden.json").write_text("[{}, {}]")
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        f'#!/bin/sh\n[ "$2" = c1 ] || {{ echo "No such container: $2" >&2; exit 1; }}\n'
        f'exec python3 -c "$5" {tmp_path}/models\n'
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:/usr/bin:/bin")
    found = module_process.run("endpoint_models", {"container": "c1"}, tmp_path)
    assert found["models"] == {
        "m": {"card": {"name": "m"}, "predictor": {"kind": "k"}, "distribution": None, "golden": 2}
    }
    gone = module_process.run("endpoint_models", {"container": "c2"}, tmp_path)
    assert gone["msg"] == "The models in the container c2 could not be read: No such container: c2"


def test_the_image_of_the_page_has_all_that_it_imports() -> None:
    names = page_files("/opt")
    assert {
        "/opt/fleet_page/web.py",
        "/opt/fleet_page/static/fleet.css",
        "/opt/fleet_page/runbook.md",
    } <= names.keys()
    imported = {
        line.split()[1]
        for text in names.values()
        for line in text.splitlines()
        if line.startswith("from model_endpoint.")
    }
    assert imported
    assert {f"/opt/{module.replace('.', '/')}.py" for module in imported} <= names.keys()

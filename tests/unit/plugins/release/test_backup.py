"""A backup has the state that was written last, and load balancers without one get it back."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.backup import restore_step, save_step

from unit.plugins.release.fleet import Fleet

GROUPS = {"load_balancers": ["lb1", "lb2"], "model_nodes": ["n1", "n2", "n3"]}


def line(minute: int, message: str) -> str:
    entry = {"time": f"2026-11-28T10:{minute:02}:00+00:00", "user": "ann", "controller": "desk"}
    return json.dumps({**entry, "playbook": "site.yml", "result": "released", "message": message})


def log(*lines: str) -> dict[str, str]:
    return {"content": base64.b64encode("".join(f"{one}\n" for one in lines).encode()).decode()}


def seen(fleet: Fleet, states: dict[str, Any], *, empty: bool = False) -> Any:
    """Return what is found: load balancers with `states`, and nodes that run what they do, or are `empty`."""
    nothing: dict[str, Any] = {"containers": {}, "images": {}, "files": {}}
    variables: dict[str, Any] = {
        name: {"flotilla_machine": {**nothing, "state": state}} for name, state in states.items()
    }
    for node in fleet.nodes:
        variables[node] = {"flotilla_machine": nothing if empty else fleet.machine(node)}
    return variables


def save(fleet: Fleet, folder: Path, *states: Any) -> str:
    """Save the states of the load balancers, and return why that is refused."""
    found = seen(fleet, dict(zip(GROUPS["load_balancers"], states, strict=True)))
    step = save_step(found, GROUPS, ["lb1", "lb2"], [log(line(2, "two")), log(line(1, "one"))], str(folder))
    folder.mkdir(exist_ok=True)
    for file in step["files"]:
        Path(file["path"]).write_text(file["content"])
    return step["refusal"]


@pytest.fixture
def grown(fleet: Fleet) -> Fleet:
    """A fleet with a release before the live one, and a node that playbooks/drain.yml took out."""
    fleet.ship("image-2")
    fleet.run("drain", node="n2")
    return fleet


@pytest.fixture
def folder(grown: Fleet, tmp_path: Path) -> Path:
    """A backup of that fleet, one of whose load balancers has missed the last state."""
    older = {**grown.state, "serial": grown.state["serial"] - 1, "drained": []}
    assert save(grown, tmp_path, {**older, "version": "v1"}, {**grown.state, "version": "v2"}) == ""
    return tmp_path


def test_a_backup_has_the_last_state_and_each_line_of_the_logs_once(grown: Fleet, folder: Path) -> None:
    assert json.loads((folder / "state.json").read_text()) == grown.state
    assert (folder / "audit.jsonl").read_text() == f"{line(1, 'one')}\n{line(2, 'two')}\n"
    before = (folder / "state.json").read_text()
    assert save(grown, folder, grown.state, grown.state) == ""
    assert (folder / "state.json").read_text() == before


def test_a_backup_is_not_replaced_by_an_older_state_and_not_by_none(grown: Fleet, folder: Path) -> None:
    before = (folder / "state.json").read_text()
    anew = {**grown.state, "serial": 1}
    assert "has a later state (number" in save(grown, folder, anew, None)
    assert "no load balancer has a state" in save(grown, folder, None, None)
    assert (folder / "state.json").read_text() == before


def test_a_file_that_is_no_state_is_refused(grown: Fleet, folder: Path) -> None:
    (folder / "state.json").write_text("[")
    assert "state.json can't be read" in save(grown, folder, grown.state, grown.state)
    (folder / "state.json").write_text(json.dumps({**grown.state, "format": 99}))
    assert "has format 99" in restore(grown, folder, {"lb1": None, "lb2": None})["refusal"]


def restore(fleet: Fleet, folder: Path, states: dict[str, Any], *, empty: bool = False) -> Any:
    found = seen(fleet, states, empty=empty)
    return restore_step(found, GROUPS, list(states), [log(line(3, "three")), {}], str(folder))


def test_load_balancers_that_were_replaced_get_the_state_back(grown: Fleet, folder: Path) -> None:
    step = restore(grown, folder, {"lb1": None, "lb2": None})
    assert step["refusal"] == ""
    assert step["balancers"] == ["lb1", "lb2"]
    assert json.loads(step["state"]) == grown.state
    assert step["live"] == grown.state["live"]["id"]
    assert step["audit"] == "".join(f"{line(*each)}\n" for each in ((1, "one"), (2, "two"), (3, "three")))


def test_a_state_that_a_load_balancer_has_stays(grown: Fleet, folder: Path) -> None:
    later = {**grown.state, "serial": grown.state["serial"] + 1}
    for states in ({"lb1": later, "lb2": None}, {"lb1": None, "lb2": {**later, "serial": 1}}):
        step = restore(grown, folder, states)
        assert (step["refusal"], step["balancers"]) == ("", [])


def test_a_load_balancer_that_is_away_may_have_a_later_state(grown: Fleet, folder: Path) -> None:
    assert restore(grown, folder, {"lb1": None})["refusal"].startswith("lb2 can't be reached")


def test_a_folder_that_is_no_backup_is_refused(grown: Fleet, tmp_path: Path) -> None:
    step = restore(grown, tmp_path / "no", {"lb1": None, "lb2": None})
    assert step["refusal"] == f"{tmp_path / 'no'} is no backup of a fleet: it has no state.json"


def addresses(fleet: Fleet) -> set[str]:
    """Return the addresses at which the nodes of the live release publish."""
    return {own["address"] for own in fleet.state["live"]["settings"]["nodes"].values()}


def test_on_other_machines_the_releases_are_ones_to_go_back_to_wherever_nodes_are_now(
    grown: Fleet, folder: Path
) -> None:
    before: Any = grown.state
    grown.hostvars |= {name: {"ansible_host": f"10.9.0.{name[1]}"} for name in grown.nodes}
    step = restore(grown, folder, {"lb1": None, "lb2": None}, empty=True)
    assert "no node runs" in step["told"]
    grown.state, grown.runs, grown.made = json.loads(step["state"]), {}, {}
    assert not grown.state["live"]
    assert grown.state["serial"] == before["serial"]
    assert [release["id"] for release in grown.state["previous"]] == [
        before["live"]["id"],
        before["previous"][0]["id"],
    ]
    # Restored twice is restored once.
    again = restore(grown, folder, {"lb1": grown.state, "lb2": grown.state}, empty=True)
    assert again["balancers"] == []

    grown.run()
    assert grown.state["live"]["image"] == before["live"]["image"]
    assert grown.state["drained"] == ["n2"]
    assert addresses(grown) == {"10.9.0.1", "10.9.0.2", "10.9.0.3"}
    grown.run("rollback", release=before["previous"][0]["id"])
    assert grown.state["live"]["image"] == "image-1"
    assert addresses(grown) == {"10.9.0.1", "10.9.0.2", "10.9.0.3"}

"""The module that keeps a lock on a load balancer: one run holds the lock at a time."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.folder_lock import locked
from ansible_collections.flotilla.fleet.plugins.module_utils.lock_owner import Owner, Silence, describe
from ansible_collections.flotilla.fleet.plugins.modules import deploy_lock as module

from unit.plugins.deploy_lock.owners import OLDER, beat, owner, uptime

Lock = Callable[..., dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "flotilla"


@pytest.fixture
def lock(run_module: Callable[..., dict[str, Any]], folder: Path) -> Lock:
    def run(state: str, owner: Owner, **arguments: Any) -> dict[str, Any]:
        return run_module("deploy_lock", state=state, directory=str(folder), owner=owner, **arguments)

    return run


def audit_log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]


def test_a_lock_is_held_by_one_run_until_that_run_releases_it(lock: Lock, folder: Path) -> None:
    first = lock("acquired", owner(1))
    assert (first["held"], first["changed"], first["taken_over"]) == (True, False, {})
    assert lock("acquired", owner(1))["held"]
    second = lock("acquired", owner(2))
    assert (second["held"], second["holder"]) == (False, owner(1))
    lock("released", owner(2))
    assert (folder / "lock.json").exists()
    lock("released", owner(1), audit={"result": "released"})
    assert audit_log(folder) == [{"result": "released", "started": owner(1)["time"]}]
    assert lock("acquired", owner(2))["held"]
    assert sorted(path.name for path in folder.iterdir()) == ["audit.jsonl", "lock.json"]


def test_of_two_processes_that_race_for_a_lock_one_gets_it(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    rounds, start, held = 200, context.Barrier(2), context.SimpleQueue()
    gone = Silence(run="run9", beat="run9 1.5")

    def race(pid: int) -> None:
        for number in range(rounds):
            start.wait()
            directory = folder / str(number)
            with locked(directory):
                if module.acquire(directory, owner(pid), gone, beats=False, check_mode=False)["held"]:
                    held.put(number)

    for number in range(rounds):
        (folder / str(number)).mkdir(parents=True)
        if number % 2:  # a lock that both may take over; the others are free
            (folder / str(number) / "lock.json").write_text(json.dumps(owner(9)))
            (folder / str(number) / "lock.beat").write_text("run9 1.5\n")
    racers = [context.Process(target=race, args=[pid]) for pid in (1, 2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    winners = []
    while not held.empty():
        winners.append(held.get())
    assert sorted(winners) == list(range(rounds))


def test_a_lock_is_taken_over_only_from_the_dead_run_that_has_given_no_sign_since(
    lock: Lock, folder: Path
) -> None:
    lock("acquired", owner(1))
    seen = beat(folder, "run1", 40)
    assert not lock("acquired", owner(2), gone={"run": "run3", "beat": seen})["held"]
    assert not lock("acquired", owner(2), gone={"run": "run1", "beat": "run1 1.5"})["held"]
    taken = lock("acquired", owner(2), gone={"run": "run1", "beat": seen})
    assert (taken["held"], taken["taken_over"]) == (True, owner(1))
    assert (taken["beat"], taken["silent"]) == ("", None)  # the sign is another run's
    assert audit_log(folder)[0]["result"] == "taken over"
    assert "ann@desk (process 1, site.yml" in audit_log(folder)[0]["message"]


def test_how_long_the_holder_has_been_silent_is_told_by_the_uptime(lock: Lock, folder: Path) -> None:
    lock("acquired", owner(1))
    assert lock("acquired", owner(2))["silent"] is None
    seen = beat(folder, "run1", 40)
    refused = lock("acquired", owner(2))
    assert refused["beat"] == seen
    assert 40 <= refused["silent"] < 60
    # The load balancer was started again since: silent since then.
    beat(folder, "run1", -1000)
    assert uptime() - 1 < lock("acquired", owner(2))["silent"] < uptime() + 20
    for broken in ("", "run1", "run1 long ago", "run2 1.5"):
        (folder / "lock.beat").write_text(broken)
        assert lock("acquired", owner(2))["silent"] is None


def test_to_acquire_a_lock_is_the_first_sign_of_life(lock: Lock) -> None:
    lock("acquired", owner(1), beats=True)
    assert 0 <= lock("acquired", owner(2))["silent"] < 20
    lock("released", owner(1))
    assert lock("acquired", owner(2))["silent"] is None


def test_a_lock_file_that_an_earlier_version_wrote_is_understood(lock: Lock, folder: Path) -> None:
    folder.mkdir()
    (folder / "lock.json").write_text(OLDER)
    beat(folder, "None", 1000)
    refused = lock("acquired", owner(1))
    assert (refused["held"], refused["silent"]) == (False, None)
    assert describe(refused["holder"]) == "ann@desk (process 1, site.yml, since 2024-01-02T03:04:05+00:00)"
    assert lock("released", owner(1))["changed"] is False
    assert lock("broken", owner(1))["changed"]
    assert lock("acquired", owner(1))["held"]


def test_a_broken_lock_is_released_whoever_holds_it(lock: Lock, folder: Path) -> None:
    lock("acquired", owner(1))
    beat(folder)
    result = lock("broken", owner(2))
    assert (result["changed"], result["holder"], result["held"]) == (True, owner(1), False)
    assert [path.name for path in folder.iterdir()] == ["audit.jsonl"]
    again = lock("broken", owner(2))
    assert (again["changed"], again["holder"]) == (False, {})


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"user'])
def test_a_lock_that_cannot_be_read_is_held_by_an_unknown_run_and_can_be_broken(
    lock: Lock, folder: Path, content: str
) -> None:
    folder.mkdir()
    (folder / "lock.json").write_text(content)
    refused = lock("acquired", owner(1))
    assert not refused["held"]
    assert "unknown@unknown (process 0, unknown, since 20" in describe(refused["holder"])
    assert lock("broken", owner(1))["changed"]
    assert lock("acquired", owner(1))["held"]


def test_check_mode_writes_nothing(lock: Lock, folder: Path, run_module: Callable[..., Any]) -> None:
    for state in ("acquired", "released", "broken"):
        run_module(
            "deploy_lock", check=True, state=state, directory=str(folder), owner=owner(), audit={"a": 1}
        )
        assert not folder.exists()
    lock("acquired", owner(1))
    result = run_module("deploy_lock", check=True, state="broken", directory=str(folder), owner=owner(2))
    assert result["changed"]
    assert [path.name for path in folder.iterdir()] == ["lock.json"]


def test_a_folder_that_cannot_be_made_is_named(lock: Lock, folder: Path) -> None:
    folder.write_text("a file where a folder should be")
    result = lock("acquired", owner())
    assert result["failed"]
    assert str(folder) in result["msg"]

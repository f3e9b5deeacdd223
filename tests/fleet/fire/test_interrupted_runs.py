"""A run that dies leaves the fleet serving, the next one finishes the work, and no two work at once."""

import json
import socket
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from fleet import steps
from fleet.deploy import FAILED, FINE, Deployment, assert_live, deploy, live
from fleet.fleet import Fleet
from fleet.load import under_load

LOCK = "/var/lib/flotilla/lock.json"
# When the controller dies: so many seconds after the first task of the step has begun. The others are over sooner.
INTO_STEPS = {
    steps.LOCK: 0.0,
    steps.BUILD: 0.7,
    steps.STAGE: 0.7,
    steps.GATE: 0.0,
    steps.FLIP: 0.7,
    steps.WATCH: 0.7,
    steps.COMMIT: 0.0,
}


def test_the_lock_of_a_run_of_an_earlier_version_is_freed_by_a_playbook(fleet: Fleet) -> None:
    owner = {"user": "ann", "controller": "elsewhere", "pid": 1, "started": 100, "pid_space": "there"}
    lock = json.dumps({**owner, "time": "2024-01-02T03:04:05+00:00", "playbook": "site.yml"})
    for balancer in fleet.load_balancers:
        balancer.run("tee", LOCK, stdin=lock)
    refused = deploy(fleet)
    assert refused.code == FAILED
    assert "ann@elsewhere has been deploying since" in refused.output
    assert "ansible-playbook flotilla.fleet.unlock" in refused.output
    assert deploy(fleet, "playbooks/unlock.yml").code == FINE
    deploy(fleet).assert_ended(FINE, "unchanged")


@pytest.fixture(scope="module")
def turns(fleet: Fleet, new_model: Path) -> Iterator[Iterator[Path | None]]:
    """What to release next: new model and first in turn, so that every turn is a release. In the end the first."""
    yield cycle([new_model, None])
    # Nothing is asked of the fleet by which a release could be judged.
    assert deploy(fleet, release_bake_seconds=0).code == FINE


@pytest.mark.parametrize(("step", "seconds"), INTO_STEPS.items(), ids=INTO_STEPS)
def test_a_controller_killed_in_a_step_is_made_good_by_the_next_run(
    fleet: Fleet, turns: Iterator[Path | None], step: str, seconds: float
) -> None:
    source = next(turns)
    with under_load(fleet.urls) as load:
        run = Deployment(fleet, "site.yml", source)
        run.wait_for_task_of(step)
        time.sleep(seconds)
        run.kill()
        assert run.play == step, "the step was over before the controller was killed"
        load.during(1)
        # A lock that was written while the run died has nobody to free it: it is taken over within a minute.
        made_good = deploy(fleet, source=source, release_lock_wait=60)
        assert made_good.code == FINE, made_good.output[-6000:]
        assert_live(fleet, made_good.verdict["live"], load.during(1))
    load.record().assert_nothing_lost()
    again = deploy(fleet, source=source)
    again.assert_ended(FINE, "unchanged")
    assert again.changed == 0


def test_of_two_releases_at_once_one_fails_or_waits(fleet: Fleet, turns: Iterator[Path | None]) -> None:
    source, before = next(turns), live(fleet)
    with under_load(fleet.urls) as load:
        run = Deployment(fleet, "site.yml", source, release_bake_seconds=15)
        run.wait_for_play(steps.STAGE)
        waiting = Deployment(fleet, "site.yml", source, release_lock_wait=120)
        refused = deploy(fleet)
        assert refused.code == FAILED
        assert f"@{socket.gethostname()} has been deploying since" in refused.output
        outcome = run.outcome()
        outcome.assert_ended(FINE, "released")
        waiting.outcome().assert_ended(FINE, "unchanged")
        assert ": waiting for " in waiting.output
        assert_live(fleet, outcome.verdict["live"], load.during(1))
        assert deploy(fleet, "playbooks/rollback.yml").verdict["live"] == before
    load.record().assert_nothing_lost()

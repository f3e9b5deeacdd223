"""What the tests of a takeover share: the older commit's files, and a fleet that it deployed."""

from pathlib import Path

import pytest

from fleet.deploy import FINE, deploy, state
from fleet.fleet import Fleet
from fleet.upgrade.older import Older


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Older:
    """The files of the older commit."""
    return Older.unpack(tmp_path_factory.mktemp("older"))


@pytest.fixture
def older_model(older: Older, tmp_path: Path) -> Path:
    """What the older commit releases for a new model."""
    return older.new_model(tmp_path)


@pytest.fixture
def older_release(fleet: Fleet, older: Older) -> str:
    """Replace whatever runs on the hosts by the older commit's fleet, and return the release that is live."""
    removed = deploy(fleet, "playbooks/down.yml")
    assert removed.code == FINE, removed.output[-6000:]
    older.deploy(fleet, nginx_lb_bake_seconds=0, nginx_lb_ramp_seconds=0)
    states = [state(fleet, balancer.name) for balancer in fleet.load_balancers]
    assert all("colour" in found and "format" not in found for found in states), (
        "this is not the old form of the state"
    )
    (release,) = {found["live"]["id"] for found in states}
    return str(release)

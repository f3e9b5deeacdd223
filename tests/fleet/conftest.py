"""The fleet that Molecule made and converged."""

import os
from pathlib import Path

import pytest

from fleet import releases
from fleet.fleet import Fleet


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """Read the fleet from Molecule's inventory."""
    inventory = os.environ.get("MOLECULE_INVENTORY_FILE")
    assert inventory, "these tests need a running fleet: `molecule converge`, then `molecule verify`"
    return Fleet.of(Path(inventory).parent)


@pytest.fixture(scope="session")
def new_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What to release for a new model."""
    return releases.new_model(tmp_path_factory.mktemp("new_model"))


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What to release for a fault; model_endpoint_log_sample chooses it."""
    return releases.with_faults(tmp_path_factory.mktemp("faulty"))

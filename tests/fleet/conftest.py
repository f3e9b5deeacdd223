"""The fleet that Molecule made and converged."""

import os
from pathlib import Path

import pytest

from fleet.fleet import Fleet


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """Read the fleet from Molecule's inventory."""
    inventory = os.environ.get("MOLECULE_INVENTORY_FILE")
    assert inventory, "these tests need a running fleet: `molecule converge`, then `molecule verify`"
    return Fleet.of(Path(inventory).parent)

"""What the tests of scenario ssh share: the folder that the fleet was deployed from."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def elsewhere() -> Path:
    """The folder that converge.yml deployed from."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "elsewhere"

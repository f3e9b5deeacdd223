"""What the tests under fire share: the release as it was at first."""

import pytest

from fleet.deploy import live
from fleet.fleet import Fleet


@pytest.fixture(scope="session")
def first(fleet: Fleet) -> str:
    """The release that is live before and after every test."""
    return live(fleet)

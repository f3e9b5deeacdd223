"""What the tests under fire share: the fleet as it was at first, and what is released to it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fleet.fire import releases
from fleet.fire.deploy import live
from fleet.fleet import Fleet

Nodes = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="session")
def first(fleet: Fleet) -> str:
    """The release that is live before and after every test."""
    return live(fleet)


@pytest.fixture(scope="session")
def new_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What to release for a new model."""
    return releases.new_model(tmp_path_factory.mktemp("new_model"))


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What to release for a fault; model_endpoint_log_sample chooses it."""
    return releases.with_faults(tmp_path_factory.mktemp("faulty"))

"""A fleet that never ran, in a real Prometheus; once for each process of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import generated_fleet
from fleet_page.web import Sources


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    with generated_fleet.shown(tmp_path_factory.mktemp("generated")) as found:
        yield found

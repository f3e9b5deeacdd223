"""A fleet that never ran, in a real Prometheus; once for each process of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import generated_fleet
from fleet_page.prometheus import Prometheus
from fleet_page.web import Sources

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook.md"


@pytest.fixture(scope="session")
def fleet() -> generated_fleet.Fleet:
    return generated_fleet.Fleet(6, generated_fleet.now(), ["penguins", "iris"])


@pytest.fixture(scope="session")
def sources(fleet: generated_fleet.Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    folder = tmp_path_factory.mktemp("generated")
    generated_fleet.fill(folder / "data", fleet)
    generated_fleet.write_facts(folder / "facts", fleet)
    with generated_fleet.prometheus(folder / "prometheus", folder / "data") as url:
        yield Sources(Prometheus(url), folder / "facts", RUNBOOK, lambda: fleet.end)

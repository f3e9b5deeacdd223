"""Fleets for the tests of releases."""

from __future__ import annotations

import pytest

from unit.plugins.release.fleet import Fleet


@pytest.fixture
def empty() -> Fleet:
    return Fleet()


@pytest.fixture
def fleet(empty: Fleet) -> Fleet:
    """A fleet with its first release live on all three nodes."""
    empty.run()
    return empty

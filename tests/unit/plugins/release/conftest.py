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


@pytest.fixture
def shared() -> Fleet:
    """A fleet whose nodes a and b share a machine; node c has its own."""
    fleet = Fleet(
        {
            "lb": {},
            "a": {"ansible_host": "10.0.0.1"},
            "b": {"ansible_host": "10.0.0.1", "model_endpoint_port": 5003},
            "c": {"ansible_host": "10.0.0.3"},
        }
    )
    fleet.run()
    return fleet

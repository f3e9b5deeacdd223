"""A monitoring host that is gone is missed by nobody, and is right again when it is back."""

from collections.abc import Iterator

import pytest

from fleet.deploy import FINE, LEFT_OUT, deploy
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.machine import wait_until
from fleet.monitoring.prometheus import faults, targets


@pytest.fixture
def away(fleet: Fleet) -> Iterator[None]:
    """Shut the monitoring host down for a test."""
    fleet.monitoring.stop()
    try:
        yield
    finally:
        fleet.monitoring.start()


def test_nothing_else_notices_that_it_is_gone(fleet: Fleet, away: None) -> None:
    with under_load(fleet.urls) as load:
        load.during(2)
        deploy(fleet).assert_ended(LEFT_OUT, "unchanged")
        drained = deploy(fleet, "playbooks/drain.yml", node="node3")
        drained.assert_ended(LEFT_OUT, "changed")
        assert load.during(2).by_endpoint().keys() == {"node1", "node2"}
    load.record().assert_nothing_lost()


def test_it_is_right_again_when_it_is_back(fleet: Fleet) -> None:
    names = {"flotilla-prometheus", "flotilla-alertmanager", "flotilla-node-exporter"}
    wait_until("its containers are back", lambda: names <= fleet.monitoring.container_names(), 90)
    deploy(fleet, "playbooks/undrain.yml", node="node3").assert_ended(FINE, "changed")
    wait_until("all targets are up", lambda: not faults(fleet), 90)
    assert {labels["state"] for labels in targets(fleet)["endpoints"].values()} == {"up"}
    deploy(fleet).assert_ended(FINE, "unchanged")

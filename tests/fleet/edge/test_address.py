"""Clients know one address. It outlives the load balancer that holds it, and stays when that one comes back."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet.confinement import violations
from fleet.deploy import FAILED, FINE, LEFT_OUT, deploy, live
from fleet.edge.virtual_address import (
    FAULTS,
    Fault,
    address,
    give_address_to,
    holder_and_standby,
    holders,
    wait_until_back,
)
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.machine import wait_until
from fleet.steps import INSTALL_STATE

LOOK_SECONDS = 5
SERVICES = {"flotilla-nginx", "flotilla-keepalived", "flotilla-registry", "flotilla-registry-push"}
THREE: dict[str, dict[str, Any]] = {"node1": {}, "node2": {}, "node3": {}}


@pytest.fixture
def url(fleet: Fleet) -> str:
    """Where clients send their requests."""
    return f"http://{address(fleet)}"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_address_moves_when_its_load_balancer_fails_and_stays_when_it_is_back(
    fleet: Fleet, url: str, fault: Fault, record_property: Callable[[str, object], None]
) -> None:
    holder, standby = holder_and_standby(fleet)
    with under_load([url]) as load:
        load.during(2)
        fault.harm(holder)
        try:
            wait_until("the address has moved", lambda: standby.name in holders(fleet), 10)
            load.during(LOOK_SECONDS)
        finally:
            fault.repair(holder)
        wait_until_back(holder)
        load.during(LOOK_SECONDS)
        assert holders(fleet) == [standby.name]
    record = load.record()
    began, ended = record.silence()
    record_property("outage_seconds", round(ended - began, 2))
    record_property("lost", len(record.lost))
    assert ended - began < fault.outage_seconds
    record.between(ended).assert_nothing_lost()
    assert set(record.by_release()) == {live(fleet)}


def test_what_is_new_comes_first_to_the_load_balancer_without_the_address(fleet: Fleet, url: str) -> None:
    holder, standby = holder_and_standby(fleet)
    with under_load([url]) as load:
        heavier = fleet.with_nodes({**THREE, "node1": {"model_endpoint_weight": 3}})
        changed = deploy(heavier)
        changed.assert_ended(FINE, "changed")
        heavier.assert_shared(load.during(LOOK_SECONDS).by_endpoint())
        deploy(fleet).assert_ended(FINE, "changed")
    load.record().assert_nothing_lost()
    order = re.findall(rf"{INSTALL_STATE} .*\(item=(\w+)\)", changed.output)
    assert order == [standby.name, holder.name]
    assert holders(fleet) == [holder.name]


def test_a_load_balancer_that_is_away_misses_no_release_and_catches_up(
    fleet: Fleet, url: str, new_model: Path
) -> None:
    # The other one is also the image builder.
    give_address_to(fleet, "lb1")
    standby = fleet.machine("lb2")
    first = live(fleet)
    heavier = fleet.with_nodes({**THREE, "node1": {"model_endpoint_weight": 3}})
    with under_load([url]) as load:
        standby.stop()
        try:
            refused = deploy(fleet, source=new_model)
            assert refused.code == FAILED
            assert "lb2 can't be reached" in refused.verdict["message"]
            changed = deploy(heavier)
            changed.assert_ended(LEFT_OUT, "changed")
            heavier.assert_shared(load.during(LOOK_SECONDS).by_endpoint())
        finally:
            standby.start()
        wait_until_back(standby)
        deploy(heavier).assert_ended(FINE, "changed")
        with under_load([f"http://{standby.address}"]) as beside:
            heavier.assert_shared(beside.during(LOOK_SECONDS).by_endpoint())
        assert set(load.during(1).by_release()) == {first}
        deploy(fleet).assert_ended(FINE, "changed")
        assert holders(fleet) == ["lb1"]
    load.record().assert_nothing_lost()


def test_nginx_and_keepalived_are_replaced_while_the_address_stays(fleet: Fleet, url: str) -> None:
    holder, _ = holder_and_standby(fleet)
    before = containers(fleet)
    with under_load([url, *fleet.urls]) as load:
        smaller = deploy(fleet, nginx_lb_memory="500m", virtual_address_memory="60m")
        assert smaller.code == FINE, smaller.output[-6000:]
        assert holders(fleet) == [holder.name]
        replaced = containers(fleet)
        assert not before & replaced
        again = deploy(fleet)
        assert again.code == FINE, again.output[-6000:]
        assert holders(fleet) == [holder.name]
        assert not replaced & containers(fleet)
        load.during(LOOK_SECONDS)
    load.record().assert_nothing_lost()
    assert {name for balancer in fleet.load_balancers for name in balancer.container_names()} <= SERVICES


def containers(fleet: Fleet) -> set[str]:
    """Return the ids of the containers of Nginx and keepalived, which all load balancers have."""
    ids = {
        balancer.run("docker", "inspect", "--format", "{{.Id}}", name).strip()
        for balancer in fleet.load_balancers
        for name in ("flotilla-nginx", "flotilla-keepalived")
    }
    assert len(ids) == 2 * len(fleet.load_balancers)
    return ids


def test_status_tells_who_holds_the_address(fleet: Fleet) -> None:
    holder, standby = holder_and_standby(fleet)
    status = deploy(fleet, "playbooks/status.yml")
    assert status.code == FINE
    told = " ".join(status.output.split())
    assert re.search(rf"{holder.name} serves \w+ and holds {address(fleet)}\b", told), told[-3000:]
    assert not re.search(rf"{standby.name} serves \w+ and holds", told)


def test_keepalived_is_confined(fleet: Fleet) -> None:
    assert all("flotilla-keepalived" in balancer.container_names() for balancer in fleet.load_balancers)
    assert violations(fleet.load_balancers) == []


def test_an_address_that_is_not_wanted_any_more_is_given_up(fleet: Fleet, url: str) -> None:
    none = {balancer.name: {"virtual_address_ip": None} for balancer in fleet.load_balancers}
    with under_load(fleet.urls) as load:
        deploy(fleet.with_nodes(THREE, none)).assert_ended(FINE, "changed")
        assert holders(fleet) == []
        for balancer in fleet.load_balancers:
            assert balancer.container_names() <= {
                "flotilla-nginx",
                "flotilla-registry",
                "flotilla-registry-push",
            }
        deploy(fleet).assert_ended(FINE, "changed")
        assert len(holders(fleet)) == 1
        again = deploy(fleet)
        again.assert_ended(FINE, "unchanged")
        assert again.changed == 0
    load.record().assert_nothing_lost()
    with under_load([url]) as load:
        load.during(1)
    load.record().assert_nothing_lost()

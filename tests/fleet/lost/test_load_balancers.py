"""Load balancers that are lost are empty machines for the next run; nodes serve on, or are taken over as they are."""

from pathlib import Path

from fleet.deploy import FINE, deploy, live, state
from fleet.fleet import Fleet
from fleet.lost.machines import assert_whole, nothing_lost, replace


def test_a_load_balancer_is_replaced_while_the_other_serves(fleet: Fleet) -> None:
    left, lost = fleet.load_balancers
    release = live(fleet)
    with nothing_lost(left):
        replace(lost)
        mended = deploy(fleet)
    assert mended.code == FINE, mended.output[-6000:]
    assert live(fleet) == release
    assert_whole(fleet)


def test_both_are_replaced_while_nodes_run_another_release(fleet: Fleet, new_model: Path) -> None:
    """The first of them is the builder, too. What the nodes run is in the slot that a first release does not take."""
    if state(fleet, "lb1")["live_slot"] == "green":
        deploy(fleet).assert_ended(FINE, "released")
    deploy(fleet, source=new_model).assert_ended(FINE, "released")
    known = state(fleet, "lb1")
    assert known["live_slot"] == "green"
    for balancer in fleet.load_balancers:
        replace(balancer)
    deploy(fleet).assert_ended(FINE, "released")
    release = live(fleet)
    assert release != known["live"]["id"]
    for node in fleet.nodes:
        assert node.endpoints().get(release) == "running"
        assert node.endpoints().get(known["live"]["id"], "exited") == "exited"
    assert_whole(fleet)


def test_both_are_replaced_while_nodes_run_the_same_release(fleet: Fleet) -> None:
    for balancer in fleet.load_balancers:
        replace(balancer)
    deploy(fleet).assert_ended(FINE, "released")
    assert_whole(fleet)

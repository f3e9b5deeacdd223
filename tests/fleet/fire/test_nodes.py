"""Nodes get more traffic or less, come and go, while requests are answered.

The tests are one story: a fourth node joins in one and leaves in the next.
"""

from typing import Any

from fleet.deploy import FINE, LEFT_OUT, deploy
from fleet.fleet import Fleet
from fleet.load import under_load

THREE: dict[str, dict[str, Any]] = {"node1": {}, "node2": {}, "node3": {}}
FOUR = {**THREE, "node4": {}}
# At 100 requests a second, enough for shares to be seen.
LOOK_SECONDS = 5


def test_shares_follow_a_changed_weight(fleet: Fleet) -> None:
    with under_load(fleet.urls) as load:
        heavier = fleet.with_nodes({**THREE, "node1": {"model_endpoint_weight": 3}})
        deploy(heavier).assert_ended(FINE, "changed")
        heavier.assert_shared(load.during(LOOK_SECONDS).by_endpoint())
        deploy(fleet).assert_ended(FINE, "changed")
        fleet.assert_shared(load.during(LOOK_SECONDS).by_endpoint())
    load.record().assert_nothing_lost()


def test_a_drained_node_is_idle_and_an_undrained_one_takes_its_share(fleet: Fleet) -> None:
    node = fleet.machine("node2")
    with under_load(fleet.urls) as load:
        deploy(fleet, "playbooks/drain.yml", node=node.name).assert_ended(FINE, "changed")
        without = fleet.with_nodes({"node1": {}, "node3": {}})
        without.assert_shared(load.during(LOOK_SECONDS).by_endpoint())
        assert node.container_names() == node.healthy_containers() != set()
        # A run of site.yml leaves it drained.
        again = deploy(fleet)
        again.assert_ended(FINE, "unchanged")
        assert again.changed == 0
        deploy(fleet, "playbooks/undrain.yml", node=node.name).assert_ended(FINE, "changed")
        fleet.assert_shared(load.during(LOOK_SECONDS).by_endpoint())
    load.record().assert_nothing_lost()


def test_a_node_that_joins_takes_its_share_in_steps(fleet: Fleet) -> None:
    grown = fleet.with_nodes(FOUR)
    ramp_seconds = 12
    with under_load(fleet.urls) as load:
        deploy(grown, release_ramp_seconds=ramp_seconds).assert_ended(FINE, "changed")
        grown.assert_shared(load.during(LOOK_SECONDS).by_endpoint())
    record = load.record()
    record.assert_nothing_lost()
    # Four steps of a quarter of its weight: of 13 requests it has one, of 14 two, of 15 three, of 16 four.
    joined = next(answer.sent for answer in record.answers if answer.endpoint == "node4")
    quarter = record.between(joined, joined + ramp_seconds / 4).endpoint_shares()["node4"]
    half = record.between(joined, joined + ramp_seconds / 2).endpoint_shares()["node4"]
    assert quarter < 0.11
    assert half < 0.17


def test_a_removed_node_gets_no_request_and_keeps_nothing(fleet: Fleet) -> None:
    grown = fleet.with_nodes(FOUR)
    node = grown.machine("node4")
    with under_load(fleet.urls) as load:
        deploy(grown, "playbooks/remove_node.yml", node=node.name).assert_ended(FINE, "changed")
        fleet.assert_shared(load.during(LOOK_SECONDS).by_endpoint())
        assert node.endpoints() == {}
    load.record().assert_nothing_lost()


def test_a_dead_node_is_removed_as_well(fleet: Fleet) -> None:
    grown = fleet.with_nodes(FOUR)
    node = grown.machine("node4")
    with under_load(fleet.urls) as load:
        deploy(grown).assert_ended(FINE, "changed")
        node.kill_engine()
        node.cut_off()
        try:
            removed = deploy(grown, "playbooks/remove_node.yml", node=node.name)
            assert removed.code in (FINE, LEFT_OUT), removed.output[-6000:]
            fleet.assert_shared(load.during(LOOK_SECONDS).by_endpoint())
            deploy(fleet).assert_ended(FINE, "unchanged")
        finally:
            node.plug_in()
    load.record().assert_nothing_lost()

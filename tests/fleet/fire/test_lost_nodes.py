"""A node that is lost costs no request and holds up no release, and never answers with what it missed."""

import time
from pathlib import Path

import pytest

from fleet import steps
from fleet.deploy import FAILED, FINE, LEFT_OUT, Deployment, assert_live, deploy, live
from fleet.fleet import Fleet
from fleet.load import under_load


@pytest.mark.parametrize("step", [steps.STAGE, steps.FLIP, steps.WATCH])
def test_a_node_that_is_killed_during_a_release_costs_no_request(
    fleet: Fleet, first: str, new_model: Path, step: str
) -> None:
    node = fleet.machine("node2")
    with under_load(fleet.urls) as load:
        run = Deployment(fleet, "site.yml", new_model, release_bake_seconds=4)
        run.wait_for_play(step)
        node.kill_engine()
        node.cut_off()
        outcome = run.outcome()
        ended = time.time()
        try:
            outcome.assert_ended(LEFT_OUT, "released")
            assert outcome.verdict["left_out"] == [node.name]
            assert outcome.verdict["live"] == live(fleet) != first
        finally:
            node.plug_in()
        load.during(3)
        after = load.record().between(ended)
        assert set(after.by_release()) == {outcome.verdict["live"]}
        converged = deploy(fleet, source=new_model)
        assert converged.code == FINE, converged.output[-6000:]
        again = load.during(4)
        assert_live(fleet, outcome.verdict["live"], again)
        fleet.assert_shared(again.by_endpoint())
        assert deploy(fleet, "playbooks/rollback.yml").verdict["live"] == first
    load.record().assert_nothing_lost()


def test_a_node_that_is_away_holds_up_a_release_only_where_too_few_remain(
    fleet: Fleet, first: str, new_model: Path
) -> None:
    node = fleet.machine("node2")
    with under_load(fleet.urls) as load:
        node.cut_off()
        try:
            refused = deploy(fleet, source=new_model, release_min_nodes=3)
            refused.assert_ended(FAILED, "failed")
            assert live(fleet) == first
            assert "release_min_nodes" in refused.output
            outcome = deploy(fleet, source=new_model, release_allow_unreachable=True)
            outcome.assert_ended(FINE, "released")
            assert outcome.verdict["left_out"] == [node.name]
        finally:
            node.plug_in()
        # It is back with the release it had, which runs there still, and is asked for nothing.
        assert node.endpoints()[first] == "running"
        back = load.during(4)
        assert node.name not in back.by_endpoint()
        assert set(back.by_release()) == {outcome.verdict["live"]}
        deploy(fleet, source=new_model).assert_ended(FINE, "changed")
        assert_live(fleet, outcome.verdict["live"], load.during(1))
        assert deploy(fleet, "playbooks/rollback.yml").verdict["live"] == first
    load.record().assert_nothing_lost()

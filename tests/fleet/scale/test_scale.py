"""A fleet that starts with three nodes grows, shifts its traffic and shrinks, one inventory edit at a time.

The tests are one story: each starts from what the one before left.
"""

from fleet.fleet import Fleet
from fleet.machine import open_from_here, wait_until
from fleet.playbook import run_playbook
from fleet.ports import HTTP

THREE: dict[str, dict[str, int | str]] = {"node1": {"model_endpoint_weight": 3}, "node2": {}, "node3": {}}
FOUR = {**THREE, "node4": {}}


def test_three_nodes_share_by_weight_to_begin_with(fleet: Fleet) -> None:
    fleet.assert_shares()


def test_an_added_node_takes_its_share_and_the_others_are_not_touched(fleet: Fleet) -> None:
    grown = fleet.with_nodes({**THREE, "node4": {"model_endpoint_weight": 2}})
    changed = run_playbook("site.yml", grown.inventory)
    assert changed["node4"] > 0
    assert changed["node1"] == changed["node2"] == changed["node3"] == 0
    grown.assert_shares()


def test_a_changed_weight_changes_the_load_balancer_alone(fleet: Fleet) -> None:
    shifted = fleet.with_nodes(FOUR)
    changed = run_playbook("site.yml", shifted.inventory)
    assert [host for host, count in changed.items() if count] == ["lb1"]
    shifted.assert_shares()


def test_a_drained_node_gets_no_traffic_but_keeps_its_endpoint(fleet: Fleet) -> None:
    drained = fleet.with_nodes({**FOUR, "node2": {"model_endpoint_state": "drained"}})
    changed = run_playbook("site.yml", drained.inventory)
    assert [host for host, count in changed.items() if count] == ["lb1"]
    drained.assert_shares()
    assert drained.machine("node2").container_names() == {"flotilla-node2-blue"}


def test_a_removed_node_gets_no_traffic_and_keeps_nothing(fleet: Fleet) -> None:
    before = fleet.with_nodes(FOUR)
    run_playbook("playbooks/remove_node.yml", before.inventory, "--extra-vars", "node=node4")
    fleet.with_nodes(THREE).assert_shares()
    assert not fleet.machine("node4").run("docker", "ps", "--all", "--quiet")


def test_a_run_limited_to_a_new_node_leaves_the_traffic_as_it_is(fleet: Fleet) -> None:
    grown = fleet.with_nodes(FOUR)
    changed = run_playbook("site.yml", grown.inventory, "--limit", "node4")
    assert changed.keys() - {"localhost"} == {"node4"}
    assert grown.machine("node4").container_names() == {"flotilla-node4-blue"}
    fleet.with_nodes(THREE).assert_shares()


def test_a_run_limited_to_it_and_the_load_balancers_lets_it_join(fleet: Fleet) -> None:
    grown = fleet.with_nodes(FOUR)
    changed = run_playbook("site.yml", grown.inventory, "--limit", "node4,load_balancers")
    assert changed.keys() - {"localhost"} == {"node4", "lb1"}
    grown.assert_shares()


def test_a_load_balancer_that_was_reloaded_comes_back_after_a_restart(fleet: Fleet) -> None:
    grown = fleet.with_nodes(FOUR)
    before = grown.load_balancer.container_names()
    grown.load_balancer.restart()
    wait_until(
        f"{', '.join(sorted(before))} run again",
        lambda: (
            grown.load_balancer.attempt(["docker", "info"]).returncode == 0
            and grown.load_balancer.container_names() == before
        ),
    )
    wait_until("port 80 answers", lambda: bool(open_from_here(grown.load_balancer.addressed({HTTP}))))
    grown.assert_shares()

"""Endpoints that move: to other ports, under other names, and out of the inventory; none of it loses a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fleet.deploy import FINE, Outcome, deploy, state
from fleet.fleet import ROLE_VARIABLES, Fleet
from fleet.load import under_load
from fleet.machine import Machine

OTHER_NAME = "renamed"
MOVED = {"model_endpoint_port": 6001}


@pytest.fixture(scope="module")
def nodes(fleet: Fleet) -> Iterator[dict[str, dict[str, Any]]]:
    """The nodes with their variables, to be edited for the next run. In the end the fleet is as it was."""
    yield {
        name: {key: value for key, value in fleet.hostvars[name].items() if key.startswith(ROLE_VARIABLES)}
        for name in fleet.groups["model_nodes"]
    }
    assert deploy(fleet).code == FINE


def run(
    fleet: Fleet, nodes: Mapping[str, Mapping[str, Any]], playbook: str = "site.yml", **asked: Any
) -> Outcome:
    """Run a playbook with these nodes, under load, and check that it ends well and loses nothing."""
    edited = fleet.with_nodes(nodes)
    with under_load(fleet.urls) as load:
        outcome = deploy(edited, playbook, **asked)
        load.during(1)
    assert outcome.code == FINE, outcome.output[-6000:]
    load.record().assert_nothing_lost()
    return outcome


def assert_nothing_to_do(fleet: Fleet, nodes: Mapping[str, Mapping[str, Any]]) -> Outcome:
    """Check that the next run changes nothing, and that every node answers its share of the requests."""
    again = deploy(fleet.with_nodes(nodes))
    again.assert_ended(FINE, "unchanged")
    assert again.changed == 0, again.output[-6000:]
    assert set(fleet.answers(200)) == set(nodes)
    return again


def ports(machine: Machine) -> dict[str, int]:
    """Return the port of slot blue of each endpoint that runs on a machine, by node."""
    found = {}
    for container in machine.containers():
        labels = container["Config"]["Labels"]
        if labels.get("flotilla.role") == "endpoint":
            (binding,) = container["HostConfig"]["PortBindings"]["5001/tcp"]
            found[labels["flotilla.endpoint"]] = int(binding["HostPort"]) - (
                labels["flotilla.slot"] == "green"
            )
    return found


def test_changed_ports_and_the_way_back_lose_nothing(fleet: Fleet, nodes: dict[str, dict[str, Any]]) -> None:
    name1, name2, name3 = fleet.groups["model_nodes"]  # the first two share a machine
    first, third = fleet.machine(name1), fleet.machine(name3)
    nodes[name1] = dict(MOVED)
    run(fleet, nodes).assert_ended(FINE, "released")
    assert ports(first) == {name1: 6001, name2: 5003}
    everywhere = {
        name1: {"model_endpoint_port": 7001},
        name2: {**nodes[name2], "model_endpoint_port": 7003},
        name3: {"model_endpoint_port": 7001},
    }
    run(fleet, everywhere).assert_ended(FINE, "released")
    assert (ports(first), ports(third)) == ({name1: 7001, name2: 7003}, {name3: 7001})
    assert_nothing_to_do(fleet, everywhere)
    run(fleet, everywhere, "playbooks/rollback.yml").assert_ended(FINE, "rolled back")
    assert (ports(first), ports(third)) == ({name1: 6001, name2: 5003}, {name3: 5001})


def test_a_renamed_node_that_keeps_its_port_and_a_container_that_differs_go_over_in_one_run(
    fleet: Fleet, nodes: dict[str, dict[str, Any]]
) -> None:
    name1, name2, name3 = fleet.groups["model_nodes"]  # the first two share a machine
    first, third = fleet.machine(name1), fleet.machine(name3)
    (name,) = (name for name in third.container_names() if name.startswith(f"flotilla-{name3}-"))
    third.run("docker", "update", "--memory", "1g", "--memory-swap", "1g", name)
    places = {key: value for key, value in fleet.hostvars[name2].items() if key not in nodes[name2]}
    nodes[OTHER_NAME] = {**places, **nodes.pop(name2)}
    outcome = run(fleet, nodes)
    outcome.assert_ended(FINE, "released")
    assert f"{name} is not as its release wants it (memory)" in outcome.verdict["message"]
    assert ports(first) == {name1: 6001, OTHER_NAME: 5003}
    assert name2 not in first.run("docker", "ps", "--all", "--format", "{{.Names}}")
    assert_nothing_to_do(fleet, nodes)


def test_deleted_nodes_are_removed_or_named_until_they_are_to_be_forgotten(
    fleet: Fleet, nodes: dict[str, dict[str, Any]]
) -> None:
    name1, _, name3 = fleet.groups["model_nodes"]  # the first two share a machine
    first, third = fleet.machine(name1), fleet.machine(name3)
    del nodes[OTHER_NAME], nodes[name3]
    named = f"{name3} is forgotten: it has left the inventory, and what it left on {third.address}"
    assert named in run(fleet, nodes).verdict["message"]
    assert ports(first) == {name1: 6001}
    left = first.run("sh", "-c", "docker ps --all --format '{{.Names}}'; ls /etc/flotilla/endpoints")
    assert OTHER_NAME not in left
    assert name1 in left
    assert "5003" not in first.run("iptables", "--list-rules")
    # Nobody has told the run how to reach that machine.
    assert name3 in ports(third)
    assert named in assert_nothing_to_do(fleet, nodes).verdict["message"]
    forgotten = run(fleet, nodes, "playbooks/remove_node.yml", node=name3)
    assert named not in forgotten.verdict["message"]
    assert "forgotten" not in state(fleet, fleet.load_balancer.name)

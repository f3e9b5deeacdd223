"""Port 80 is the only door, and the endpoints answer the load balancers alone."""

import re

import pytest

from fleet.fleet import Fleet
from fleet.machine import open_from_here

SSH = 22
HTTP = 80
REGISTRY = 5000
REGISTRY_PUSH = 5080
ENDPOINT_SLOTS = {5001, 5002}
# Tried even where nothing seems to listen: engine API, the registry's doors, both slots, load balancer status.
SUSPECTS = {2375, 2376, REGISTRY, REGISTRY_PUSH, 8090} | ENDPOINT_SLOTS


def test_strangers_reach_port_80_only(fleet: Fleet) -> None:
    doors: set[str] = set()
    for machine in fleet.machines:
        doors |= machine.doors(machine.listening_ports() | SUSPECTS)
    public = fleet.load_balancer.doors({HTTP})
    for machine in fleet.machines:
        public |= machine.doors({SSH})
    assert open_from_here(doors) == public, "from this machine"
    assert fleet.outsider.reaches(doors) == public, "from a neighbour"


def test_endpoints_answer_the_load_balancer(fleet: Fleet) -> None:
    doors = {door for node in fleet.nodes for door in node.doors(ENDPOINT_SLOTS)}
    assert fleet.load_balancer.reaches(doors) == {f"{node.address}:5001" for node in fleet.nodes}


def test_nodes_reach_the_registry_to_pull_but_no_other_nodes_endpoint(fleet: Fleet) -> None:
    registry = fleet.load_balancer.doors({REGISTRY})
    push = fleet.load_balancer.doors({REGISTRY_PUSH})
    for node in fleet.nodes:
        others = {door for other in fleet.nodes if other != node for door in other.doors(ENDPOINT_SLOTS)}
        assert node.reaches(registry | push | others) == registry, node.name


def test_endpoints_listen_on_the_inventorys_address_only(fleet: Fleet) -> None:
    for node in fleet.nodes:
        listeners = {line.split()[3] for line in node.run("ss", "-Hltn").splitlines()}
        of_slots = {listener for listener in listeners if int(listener.rpartition(":")[2]) in ENDPOINT_SLOTS}
        assert of_slots == {f"{node.address}:5001"}, node.name


@pytest.mark.parametrize("path", ["/", "/predict", "/no/such/path"])
def test_answers_do_not_give_away_endpoint_ports(fleet: Fleet, path: str) -> None:
    answer = fleet.get(path)
    assert not re.findall(r"\b500[012]\b", f"{answer.headers}\n{answer.text}")


def test_a_host_of_none_of_the_groups_is_left_alone(fleet: Fleet) -> None:
    assert fleet.outsider.attempt(["sh", "-c", "command -v dockerd || ls -d /etc/flotilla"]).returncode != 0

"""Port 80 is the only open port, and the endpoints answer the load balancers alone."""

import re

import pytest

from fleet.fleet import Fleet
from fleet.machine import open_from_here
from fleet.ports import BLUE, ENDPOINT_SLOTS, HTTP, REGISTRY, REGISTRY_PUSH, SSH, STATUS

# Tried even where nothing seems to listen: the engine's API, the registry, both slots, the load balancer's status.
SUSPECTS = {2375, 2376, REGISTRY, REGISTRY_PUSH, STATUS} | ENDPOINT_SLOTS


def test_strangers_reach_port_80_only(fleet: Fleet) -> None:
    ports: set[str] = set()
    for machine in fleet.machines:
        ports |= machine.addressed(machine.listening_ports() | SUSPECTS)
    public = fleet.load_balancer.addressed({HTTP})
    for machine in fleet.machines:
        public |= machine.addressed({SSH})
    assert open_from_here(ports) == public, "from this machine"
    assert fleet.outsider.reaches(ports) == public, "from a neighbour"


def test_endpoints_answer_the_load_balancer(fleet: Fleet) -> None:
    slots = {port for node in fleet.nodes for port in node.addressed(ENDPOINT_SLOTS)}
    live = {port for node in fleet.nodes for port in node.addressed({BLUE})}
    assert fleet.load_balancer.reaches(slots) == live


def test_nodes_reach_the_registry_to_pull_but_no_other_nodes_endpoint(fleet: Fleet) -> None:
    registry = fleet.load_balancer.addressed({REGISTRY})
    push = fleet.load_balancer.addressed({REGISTRY_PUSH})
    for node in fleet.nodes:
        others = {port for other in fleet.nodes if other != node for port in other.addressed(ENDPOINT_SLOTS)}
        assert node.reaches(registry | push | others) == registry, node.name


def test_endpoints_listen_on_the_inventorys_address_only(fleet: Fleet) -> None:
    for node in fleet.nodes:
        listeners = {line.split()[3] for line in node.run("ss", "-Hltn").splitlines()}
        of_slots = {listener for listener in listeners if int(listener.rpartition(":")[2]) in ENDPOINT_SLOTS}
        assert of_slots == node.addressed({BLUE}), node.name


@pytest.mark.parametrize("path", ["/", "/predict", "/no/such/path"])
def test_answers_do_not_give_away_endpoint_ports(fleet: Fleet, path: str) -> None:
    answer = fleet.get(path)
    assert not re.findall(r"\b500[012]\b", f"{answer.headers}\n{answer.text}")


def test_a_host_of_none_of_the_groups_is_left_alone(fleet: Fleet) -> None:
    # That a program and a folder of every host are found shows that the fleet's would be.
    programs, folders = "python3 dockerd docker", "/etc /etc/flotilla /etc/docker /var/lib/flotilla"
    look = f"for program in {programs}; do command -v $program; done; ls -d {folders} 2>/dev/null; true"
    assert fleet.outsider.run("sh", "-c", look).split() == ["/usr/bin/python3", "/etc"]

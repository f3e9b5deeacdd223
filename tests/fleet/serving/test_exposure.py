"""Port 80 is the only door, and the endpoints answer the load balancers alone."""

import re
from itertools import permutations

import pytest

from fleet.fleet import Fleet
from fleet.machine import Machine, open_ports_from_here

SSH = 22
HTTP = 80
REGISTRY = 5000
ENDPOINT_SLOTS = {5001, 5002}
# Tried even where nothing seems to listen: engine API, registry, both slots, load balancer status.
SUSPECTS = {2375, 2376, REGISTRY, 8090} | ENDPOINT_SLOTS


def public_ports(fleet: Fleet, machine: Machine) -> set[int]:
    """Return what strangers may reach: Ansible's way in, and the load balancer's port."""
    return {SSH, HTTP} if machine == fleet.load_balancer else {SSH}


def test_strangers_reach_port_80_only(fleet: Fleet) -> None:
    for machine in fleet.machines:
        ports = machine.listening_ports() | SUSPECTS
        public = public_ports(fleet, machine)
        assert open_ports_from_here(machine.address, ports) == public, f"{machine.name}, from this machine"
        assert fleet.outsider.open_ports(machine.address, ports) == public, (
            f"{machine.name}, from a neighbour"
        )


def test_load_balancer_reaches_one_slot_of_every_node(fleet: Fleet) -> None:
    for node in fleet.nodes:
        assert len(fleet.load_balancer.open_ports(node.address, ENDPOINT_SLOTS)) == 1, node.name


def test_nodes_reach_the_registry_but_no_other_nodes_endpoint(fleet: Fleet) -> None:
    for node in fleet.nodes:
        assert node.open_ports(fleet.load_balancer.address, {REGISTRY}) == {REGISTRY}, node.name
    for node, other in permutations(fleet.nodes, 2):
        assert not node.open_ports(other.address, ENDPOINT_SLOTS), f"{node.name} reaches {other.name}"


def test_endpoints_listen_on_the_inventorys_address_only(fleet: Fleet) -> None:
    for node in fleet.nodes:
        listeners = {line.split()[3] for line in node.run("ss", "-Hltn").splitlines()}
        of_slots = {listener for listener in listeners if int(listener.rpartition(":")[2]) in ENDPOINT_SLOTS}
        assert of_slots == {f"{node.address}:5001"}, node.name


@pytest.mark.parametrize("path", ["/", "/predict", "/no/such/path"])
def test_answers_do_not_give_away_endpoint_ports(fleet: Fleet, path: str) -> None:
    answer = fleet.get(path)
    assert not re.findall(r"\b500[012]\b", f"{answer.headers}\n{answer.text}")


def test_host_of_none_of_the_groups_is_left_alone(fleet: Fleet) -> None:
    assert fleet.outsider.attempt(["sh", "-c", "command -v dockerd || ls -d /etc/flotilla"]).returncode != 0

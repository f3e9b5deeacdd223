"""The firewall is what the inventory wants: taken away by hand, after a restart of the engine, and between networks."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleet.fleet import Fleet
from fleet.machine import Machine, wait_until
from fleet.playbook import run_playbook
from fleet.ports import BLUE, ENDPOINT_SLOTS, HTTP, REGISTRY, REGISTRY_PUSH, SSH

POLL = Path(__file__).parents[1] / "poll.py"
TIMER = "flotilla-firewall.timer"


@contextmanager
def polled(machine: Machine, ports: set[str]) -> Iterator[dict[str, int]]:
    """Try ports from a machine as fast as they answer, and return how often each accepted a connection."""
    program = POLL.read_text()
    command = ["docker", "exec", "--interactive", machine.container, "python3", "-c", program, *sorted(ports)]
    accepted: dict[str, int] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as poll:
        assert poll.stdout
        assert poll.stdout.readline() == "polling\n"
        yield accepted
        accepted.update(json.loads(poll.communicate()[0]))


def endpoint_ports(machine: Machine) -> set[str]:
    """The ports of the machine that its endpoints publish."""
    return machine.addressed({port for port in machine.listening_ports() if 5001 <= port <= 5004})


def connects(machine: Machine, container: str, target: str) -> bool:
    """Tell whether Python on the machine, or in one of its containers, can connect to ADDRESS:PORT."""
    address, _, port = target.rpartition(":")
    inside = ["docker", "exec", container] if container else []
    program = f"import socket; socket.create_connection(({address!r}, {port}), 3)"
    return machine.attempt([*inside, "python3", "-c", program]).returncode == 0


def test_an_endpoint_s_container_makes_no_connection(fleet: Fleet) -> None:
    node, balancer = fleet.machine("node1"), fleet.load_balancer
    (container,) = [name for name in node.container_names() if name.startswith("flotilla-node1-")]
    bridge = "docker0"
    gateway = node.run("ip", "-4", "-brief", "address", "show", "dev", bridge).split()[2].partition("/")[0]
    targets = {
        *balancer.addressed({HTTP, SSH}),
        *fleet.outsider.addressed({SSH}),
        *node.addressed({SSH}),
        f"{gateway}:{SSH}",
    }
    targets = {target for target in targets if connects(node, "", target)}
    assert len(targets) >= 4, "the same program reaches them from the machine itself"
    assert {target for target in targets if connects(node, container, target)} == set()
    assert fleet.answers(60).keys() == fleet.weights().keys()


def test_what_was_taken_away_by_hand_is_put_back_by_a_run(fleet: Fleet) -> None:
    node, builder = fleet.machine("node2"), fleet.builder
    guarded = node.addressed({BLUE}) | builder.addressed({REGISTRY, REGISTRY_PUSH})
    assert fleet.outsider.reaches(guarded) == set()
    for machine in (node, builder):
        machine.run("systemctl", "stop", TIMER)  # it would put them back by itself
    node.run("iptables", "-D", "FORWARD", "-j", "DOCKER-USER")
    builder.run("iptables", "-F", "FLOTILLA")
    assert fleet.outsider.reaches(guarded) == guarded
    changed = run_playbook("site.yml", fleet.inventory)
    assert {host for host, tasks in changed.items() if tasks} == {"node2", "lb1"}
    assert fleet.outsider.reaches(guarded) == set()
    for machine in (node, builder):
        assert machine.run("systemctl", "is-active", TIMER) == "active\n"


def test_the_timer_s_service_puts_the_rules_back(fleet: Fleet) -> None:
    node = fleet.machine("node2")
    guarded = node.addressed({BLUE})
    listing = node.run("iptables-save", "-t", "filter").partition(":FLOTILLA")[2]
    assert "NextElapseUSecMonotonic=infinity" not in node.run("systemctl", "show", TIMER)
    node.run("iptables", "-F", "FLOTILLA")
    node.run("iptables", "-D", "INPUT", "-j", "FLOTILLA")
    assert fleet.outsider.reaches(guarded) == guarded
    node.run("systemctl", "start", "flotilla-firewall.service")
    assert fleet.outsider.reaches(guarded) == set()
    assert without_counters(
        node.run("iptables-save", "-t", "filter").partition(":FLOTILLA")[2]
    ) == without_counters(listing)


def without_counters(listing: str) -> list[str]:
    """The rules of what iptables-save wrote."""
    return [line for line in listing.splitlines() if line.startswith("-A")]


def test_no_port_is_open_while_the_engine_restarts(fleet: Fleet) -> None:
    node = fleet.machine("node2")
    before = node.container_names()
    guarded, seen = endpoint_ports(node), node.addressed({SSH})
    assert guarded
    with polled(fleet.outsider, guarded | seen) as accepted:
        node.run("systemctl", "restart", "docker")
        wait_until("the containers of node2 are healthy", lambda: node.healthy_containers() == before)
    assert all(accepted[port] > 100 for port in seen), accepted
    assert {port: accepted[port] for port in guarded} == dict.fromkeys(guarded, 0)
    # An engine whose rules were lost gets them back by its restart.
    node.run("iptables", "-D", "FORWARD", "-j", "DOCKER-USER")
    node.run("iptables", "-F", "FLOTILLA")
    assert fleet.outsider.reaches(guarded) == guarded
    node.run("systemctl", "restart", "docker")
    wait_until("the containers of node2 are healthy", lambda: node.healthy_containers() == before)
    assert fleet.outsider.reaches(guarded) == set()
    wait_until("every endpoint answers", lambda: fleet.answers(50).keys() == fleet.weights().keys())


def inside(machine: Machine) -> str:
    """The machine's address in a second network, which only the machines have."""
    _, second, third, last = machine.address.split(".")
    return f"10.{second}.{third}.{last}"


def give_second_addresses(fleet: Fleet) -> None:
    """Give each machine its address in the second network. Packets in it have that address as their source."""
    for machine in {machine.address: machine for machine in fleet.machines}.values():
        card = machine.run("ip", "-4", "-oneline", "address", "show", "to", machine.address).split()[1]
        machine.run("ip", "address", "replace", f"{inside(machine)}/24", "dev", card)


def with_second_addresses(fleet: Fleet) -> Fleet:
    """The fleet whose services have the second addresses, while Ansible comes in by the first."""
    nodes: Mapping[str, dict[str, Any]] = {
        name: {
            **{
                key: value for key, value in fleet.hostvars[name].items() if key.startswith("model_endpoint_")
            },
            "model_endpoint_address": inside(fleet.machine(name)),
        }
        for name in fleet.groups["model_nodes"]
    }
    others = {
        balancer.name: {"nginx_lb_address": inside(balancer), "registry_address": inside(balancer)}
        for balancer in fleet.load_balancers
    }
    return fleet.with_nodes(nodes, others)


def test_services_may_have_other_addresses_than_ansible_comes_in_by(fleet: Fleet) -> None:
    give_second_addresses(fleet)
    moved = with_second_addresses(fleet)
    run_playbook("site.yml", moved.inventory)
    assert fleet.answers(100).keys() == fleet.weights().keys()
    node, builder = fleet.machine("node2"), fleet.builder
    (image,) = {container["Config"]["Image"] for container in node.containers()}
    # What the node has not, it pulls.
    node.run("docker", "rm", "--force", *node.container_names())
    node.run("docker", "image", "rm", "--force", image)
    run_playbook("site.yml", moved.inventory)
    assert image.startswith(f"{inside(builder)}:{REGISTRY}/")
    assert fleet.answers(100).keys() == fleet.weights().keys()
    node_ports = {f"{inside(node)}:{port}" for port in ENDPOINT_SLOTS}
    assert builder.reaches(node_ports)
    assert fleet.machine("node1").reaches(node_ports | {f"{inside(builder)}:{REGISTRY}"}) == {
        f"{inside(builder)}:{REGISTRY}"
    }
    run_playbook("site.yml", fleet.inventory)
    assert fleet.answers(100).keys() == fleet.weights().keys()
    assert not any(run_playbook("site.yml", fleet.inventory).values())

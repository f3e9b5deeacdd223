"""The address that clients know, and what can happen to the load balancer that holds it."""

from collections.abc import Callable
from dataclasses import dataclass

import requests

from fleet.fleet import Fleet
from fleet.machine import Machine, wait_until

# To the endpoints, from the load balancer's own network; packets are dropped as by a dead switch.
NO_ENDPOINTS = ("OUTPUT", "-p", "tcp", "--dport", "5001:5002", "-j", "DROP")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong on a load balancer, and what makes it good."""

    name: str
    harm: Callable[[Machine], object]
    repair: Callable[[Machine], object]
    outage_seconds: float = 2.0


FAULTS = (
    Fault(
        "nginx killed",
        lambda balancer: balancer.run("docker", "kill", "flotilla-nginx"),
        lambda balancer: balancer.run("docker", "start", "flotilla-nginx"),
    ),
    # systemd brings the engine back, and the engine its containers.
    Fault("engine killed", Machine.kill_engine, lambda balancer: None),
    Fault("network cut", Machine.cut_off, Machine.plug_in),
    Fault("host stopped", Machine.stop, Machine.start),
    Fault(
        "endpoints out of reach",
        lambda balancer: balancer.run("iptables", "-I", *NO_ENDPOINTS),
        lambda balancer: balancer.run("iptables", "-D", *NO_ENDPOINTS),
        # A time-out takes longer to notice than a refused connection.
        outage_seconds=3.0,
    ),
)


def address(fleet: Fleet) -> str:
    """Return the address that moves between the load balancers."""
    value = str(fleet.hostvars[fleet.load_balancer.name]["virtual_address_ip"])
    return value.partition("/")[0]


def holders(fleet: Fleet) -> list[str]:
    """Return the load balancers that have the address, those aside that don't run."""
    listings = {
        balancer.name: balancer.attempt(["ip", "-4", "-oneline", "address"]).stdout
        for balancer in fleet.load_balancers
    }
    return [name for name, listing in listings.items() if f" {address(fleet)}/" in listing]


def holder_and_standby(fleet: Fleet) -> tuple[Machine, Machine]:
    """Return the load balancer that has the address, and the other one; fails unless just one has it."""
    (holder,) = holders(fleet)
    (standby,) = {balancer.name for balancer in fleet.load_balancers} - {holder}
    return fleet.machine(holder), fleet.machine(standby)


def answers_by_itself(balancer: Machine) -> bool:
    """Tell whether a load balancer answers at its own address, and its keepalived runs."""
    try:
        answer = requests.get(f"http://{balancer.address}/v2/health/ready", timeout=2)
    except requests.RequestException:
        return False
    return answer.status_code == 200 and "flotilla-keepalived" in balancer.container_names()


def wait_until_back(balancer: Machine) -> None:
    """Return once a load balancer could take the address again."""
    wait_until(f"{balancer.name} is back", lambda: answers_by_itself(balancer))


def give_address_to(fleet: Fleet, name: str) -> None:
    """Make the load balancer `name` hold the address, if the other one does."""
    holder, _ = holder_and_standby(fleet)
    if holder.name != name:
        holder.run("docker", "kill", "flotilla-nginx")
        wait_until(f"{name} has the address", lambda: holders(fleet) == [name])
        holder.run("docker", "start", "flotilla-nginx")
        wait_until_back(holder)

"""How machines are lost: replaced by empty ones, and without power."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import docker

from fleet.fleet import Fleet
from fleet.load import Load, under_load
from fleet.machine import Machine, wait_until
from fleet.playbook import run_playbook

OF_THE_IMAGE = ("Cmd", "Hostname", "Image", "StopSignal", "Volumes")
"""What Molecule gave a host's container, besides the engine's own settings of it."""


def replace(machine: Machine, address: str = "") -> None:
    """Put an empty machine in the place of one that is lost: of its name, and of its address or another one."""
    client = docker.APIClient()
    lost = client.inspect_container(machine.container)
    client.remove_container(machine.container, v=True, force=True)
    (network,) = lost["NetworkSettings"]["Networks"]
    wanted = {
        **{name: lost["Config"][name] for name in OF_THE_IMAGE},
        "HostConfig": lost["HostConfig"],
        "Labels": {"owner": "molecule"},
        "NetworkingConfig": {
            "EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": address or machine.address}}}
        },
    }
    client.start(client.create_container_from_config(wanted, machine.container))
    wait_until_booted(machine)
    assert machine.attempt(["test", "-e", "/var/lib/flotilla"]).returncode, f"{machine.name} is not empty"


def wait_until_booted(machine: Machine) -> None:
    """Return once the machine's service manager has started what it is to start."""
    booted = ["systemctl", "is-active", "--quiet", "multi-user.target"]
    wait_until(f"{machine.name} has booted", lambda: not machine.attempt(booted).returncode, 90)


def cut_power(machines: Sequence[Machine]) -> None:
    """End every process of machines at once."""
    names = [machine.container for machine in machines]
    subprocess.run(["docker", "kill", *names], check=True, capture_output=True)


def power_on(machines: Sequence[Machine]) -> None:
    """Boot machines, all at once."""
    started = [subprocess.Popen(["docker", "start", machine.container]) for machine in machines]
    assert [process.wait() for process in started] == [0] * len(machines)


def url(machine: Machine) -> str:
    """Where clients send their requests to a load balancer."""
    return f"http://{machine.address}"


@contextmanager
def nothing_lost(*balancers: Machine) -> Iterator[Load]:
    """Have load balancers asked for as long as the block runs, and fail where a request is lost."""
    with under_load([url(balancer) for balancer in balancers], rate=50) as load:
        yield load
        load.during(2)
    load.record().assert_nothing_lost()


def assert_whole(fleet: Fleet) -> None:
    """Check that a run has nothing to do, and that each load balancer has every node answer."""
    changed = run_playbook("site.yml", fleet.inventory)
    assert not sum(changed.values()), changed
    for balancer in fleet.load_balancers:
        with under_load([url(balancer)], rate=50) as load:
            answered = load.during(2)
        answered.assert_nothing_lost()
        assert answered.by_endpoint().keys() == set(fleet.groups["model_nodes"]), balancer.name

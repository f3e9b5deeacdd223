"""A machine that restarts takes up its work by itself, and behind the same closed ports."""

import pytest

from fleet.fleet import Fleet
from fleet.machine import open_from_here, wait_until
from fleet.ports import ENDPOINT_SLOTS, HTTP, REGISTRY, REGISTRY_PUSH


@pytest.mark.parametrize("group", ["load_balancers", "model_nodes"])
def test_a_restarted_machine_serves_again(fleet: Fleet, group: str) -> None:
    machine = fleet.machine(fleet.groups[group][0])
    before = machine.container_names()
    machine.restart()
    wait_until(
        f"{machine.name} runs {', '.join(sorted(before))} again",
        lambda: (
            machine.attempt(["docker", "info"]).returncode == 0 and machine.healthy_containers() == before
        ),
    )
    wait_until("port 80 answers", lambda: bool(open_from_here(fleet.load_balancer.addressed({HTTP}))))
    wait_until("every endpoint answers", lambda: fleet.answers(50).keys() == fleet.weights().keys())
    guarded = machine.addressed(ENDPOINT_SLOTS | {REGISTRY, REGISTRY_PUSH})
    assert not open_from_here(guarded)
    assert not fleet.outsider.reaches(guarded)

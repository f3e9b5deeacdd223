"""All machines go off and on at once: the fleet answers again without Ansible, behind the same closed ports."""

import time

from fleet.deploy import live
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.lost.machines import assert_whole, cut_power, power_on, wait_until_booted
from fleet.machine import Machine, open_from_here, wait_until
from fleet.ports import ENDPOINT_SLOTS, REGISTRY, REGISTRY_PUSH

WITHIN_SECONDS = 30.0


def engine_started(machine: Machine) -> float:
    """Return when the machine's engine was started, in seconds since the epoch."""
    told = machine.run("systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "--value", "docker")
    # The machines' kernel, and so this clock, is that of this one.
    return int(told) / 1e6 + time.time() - time.monotonic()


def test_the_fleet_answers_within_30_seconds_of_the_engines(fleet: Fleet) -> None:
    release, off = live(fleet), time.time()
    with under_load(fleet.urls, rate=20) as load:
        cut_power(fleet.machines)
        gone = time.time()
        load.during(1)
        assert not load.record().between(gone).right.answers, "the power was not off"
        power_on(fleet.machines)
        on = time.time()

        def answered(url: str) -> bool:
            return bool(load.record().between(on).through(url).right.answers)

        for url in fleet.urls:
            wait_until(f"{url} answers", lambda url=url: answered(url), 120)  # type: ignore[misc]
        for machine in fleet.machines:
            wait_until_booted(machine)
        load.during(5)
        record = load.record().between(off)
    first = min(engine_started(machine) for machine in fleet.machines)
    assert first > gone
    for url in fleet.urls:
        right = record.between(on).through(url).right.answers
        seconds = min(answer.sent + answer.seconds for answer in right) - first
        assert seconds < WITHIN_SECONDS, f"{url} answered {seconds:.1f} s after the first engine was started"
    assert set(record.right.by_release()) == {release}
    guarded = {port for node in fleet.nodes for port in node.addressed(ENDPOINT_SLOTS)}
    guarded |= fleet.builder.addressed({REGISTRY, REGISTRY_PUSH})
    assert not open_from_here(guarded)
    wait_until("every endpoint answers", lambda: fleet.answers(50).keys() == fleet.weights().keys())
    assert_whole(fleet)

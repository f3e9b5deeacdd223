"""Clients with heavy requests cost the others nothing: small requests beside them are all answered, and soon.

Clients are told apart by the addresses that a trusted proxy would name.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from fleet.attackers import Attack, Outcome, attack
from fleet.deploy import FINE, deploy
from fleet.edge.virtual_address import address
from fleet.fleet import Fleet
from fleet.load import Record, under_load

SECONDS = 22
GOOD = "203.0.113.9"
HEAVY, OTHER = "192.0.2.1", "198.51.100.1"
MANY_ROWS = 15_000  # 930 kB
RATE = 18
NETWORK = [f"198.18.0.{number}" for number in range(1, 251)]

Note = Callable[[str, object], None]


@pytest.fixture(scope="module")
def url(fleet: Fleet) -> Iterator[str]:
    """Where clients send their requests, once the load balancers trust this machine to name their addresses."""
    trusting = {"nginx_lb_trusted_proxies": [fleet.address_of_this_machine]}
    nodes: dict[str, dict[str, object]] = {name: {} for name in fleet.groups["model_nodes"]}
    balancers = {balancer.name: trusting for balancer in fleet.load_balancers}
    assert deploy(fleet.with_nodes(nodes, balancers)).code == FINE
    yield f"http://{address(fleet)}"
    assert deploy(fleet).code == FINE


def beside(url: str, *attacks: Attack) -> tuple[Record, list[Outcome]]:
    """Send small requests of another client beside attacks; return their answers, and what became of the attacks."""
    with under_load([url], rate=50, seconds=4 * SECONDS, sender=GOOD) as load, ExitStack() as stack:
        running = [stack.enter_context(attack(each)) for each in attacks]
        record = load.during(SECONDS)
        outcomes = [each.outcome() for each in running]
    return record, outcomes


def noted(record: Record, outcomes: list[Outcome], record_property: Note) -> None:
    record_property("lost", len(record.lost))
    record_property("p99", round(record.quantile(0.99), 3))
    record_property("attackers", [outcome.statuses for outcome in outcomes])


@pytest.mark.parametrize(
    "wanted",
    [
        Attack("", MANY_ROWS, [HEAVY], SECONDS, rate=RATE),
        Attack("", MANY_ROWS, [HEAVY], SECONDS, rate=RATE, hang_up=True),
        Attack("", MANY_ROWS, [HEAVY], SECONDS, rate=RATE, connections=20, hang_up=True),
    ],
    ids=["answers read", "leaves one by one", "leaves by twenty"],
)
def test_one_client_takes_nothing_from_another(url: str, wanted: Attack, record_property: Note) -> None:
    record, outcomes = beside(url, replace(wanted, url=url))
    noted(record, outcomes, record_property)
    record.assert_nothing_lost()
    assert record.quantile(0.99) < 0.15
    (outcome,) = outcomes
    assert sum(outcome.statuses.values()) >= 0.5 * RATE * SECONDS, "the attack was none"


def test_many_connections_of_one_client_lose_another_nothing(url: str, record_property: Note) -> None:
    record, outcomes = beside(url, Attack(url, 1000, [HEAVY], SECONDS, connections=64))
    noted(record, outcomes, record_property)
    record.assert_nothing_lost()
    assert sum(outcomes[0].statuses.values()) >= 0.5 * RATE * SECONDS, "the attack was none"


def test_a_network_of_many_addresses_takes_little(url: str, record_property: Note) -> None:
    record, outcomes = beside(
        url, Attack(url, MANY_ROWS, NETWORK, SECONDS, rate=1000 / SECONDS, requests=1000)
    )
    noted(record, outcomes, record_property)
    assert len(record.lost) < 0.01 * len(record.answers)
    assert record.quantile(0.99) < 0.5
    assert sum(outcomes[0].statuses.values()) > 500, "the attack was none"


def test_two_batch_clients_lose_another_nothing(url: str, record_property: Note) -> None:
    """At the pace of `flotilla-model score`, with more rows than the fleet predicts in this time."""
    batches = [
        Attack(url, MANY_ROWS, [sender], SECONDS, connections=8, paced=True) for sender in (HEAVY, OTHER)
    ]
    record, outcomes = beside(url, *batches)
    noted(record, outcomes, record_property)
    record.assert_nothing_lost()
    assert min(outcome.rows for outcome in outcomes) > 0, "one of the two got nothing"

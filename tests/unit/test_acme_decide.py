"""When a load balancer orders a certificate by ACME."""

from __future__ import annotations

from acme_keeper.certificate import Certificate
from acme_keeper.decide import DAY, HOUR, Failure, gives_way, holds, next_order, rank

ROUTES = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.0.0.5
        /32 host LOCAL
     |-- 10.0.0.255
        /32 link BROADCAST
"""
HELD = Certificate("", frozenset(), 0, 90 * DAY)


def failure(until: float, fingerprint: str = "a") -> Failure:
    return {"at": 0, "until": until, "fingerprint": fingerprint, "reason": ""}


def test_a_load_balancer_holds_the_addresses_that_are_its_own() -> None:
    assert holds("10.0.0.5", ROUTES)
    assert not holds("10.0.0.255", ROUTES)
    assert not holds("10.0.0.50", ROUTES)


def test_the_holder_of_the_virtual_address_orders_first_else_the_first_of_the_inventory() -> None:
    assert [rank(position, "", ROUTES) for position in (0, 1)] == [0, 1]
    assert rank(1, "10.0.0.5", ROUTES) == 0
    assert [rank(position, "10.0.0.9", ROUTES) for position in (0, 1)] == [1, 2]


def test_a_certificate_is_renewed_when_a_third_of_its_life_is_left() -> None:
    assert next_order(HELD, 5, [], "a", 0) == 60 * DAY
    assert next_order(HELD, 5, [], "a", 2) == 60 * DAY + 2 * HOUR
    assert next_order(None, 5, [], "a", 1) == 5 + HOUR


def test_a_failure_holds_orders_with_the_same_settings_off() -> None:
    failures = [failure(7 * DAY), failure(8 * DAY), failure(9 * DAY, "b")]
    assert next_order(None, 5, failures, "a", 0) == 8 * DAY
    assert next_order(None, 5, failures, "c", 0) == 5


def test_of_two_that_begin_one_gives_way() -> None:
    one, other = (10.0, "lb1"), (10.0, "lb2")
    assert gives_way(other, [one], 11)
    assert not gives_way(one, [other], 11)
    assert gives_way((12.0, "lb1"), [(10.0, "lb2")], 13)
    assert not gives_way((10.0 + HOUR, "lb1"), [(10.0, "lb2")], 11 + HOUR)
    assert not gives_way(one, [(0.0, "lb2")], 11)

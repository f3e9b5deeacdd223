"""Runs in the keeper's container: decides when this load balancer orders a certificate. Reads no clock and no file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypedDict

from acme_keeper.certificate import Certificate

HOUR, DAY = 3600.0, 86400.0

ORDER_PAUSE = DAY
"""How long nobody orders again after an order that the CA was asked for, and that brought no certificate."""

UNREACHED_PAUSE = HOUR
"""The same where no order was made, as the CA did not answer."""

LONGEST_ORDER = 1800.0
"""How long a keeper that has begun to order counts as ordering."""

ADDRESS = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


class Failure(TypedDict):
    """An order that brought no certificate."""

    at: float
    until: float
    """When an order may be made again."""
    fingerprint: str
    """The settings with which it was made."""
    reason: str


def renewal(certificate: Certificate) -> float:
    """Return when `certificate` is due for renewal: a third of its life before its end, 30 of 90 days."""
    return certificate.end - certificate.lifetime / 3


def holds(address: str, routes: str) -> bool:
    """Tell whether this machine has `address`; `routes` is the content of /proc/net/fib_trie.

    To bind a socket would not tell, as net.ipv4.ip_nonlocal_bind allows any address.
    """
    return address in ADDRESS.findall(routes)


def rank(position: int, virtual_address: str, routes: str) -> int:
    """Return the place of this load balancer in the order in which they order, from 0.

    The first is the one that has the virtual address; where there is none, the inventory's first.
    """
    if not virtual_address:
        return position
    return 0 if holds(virtual_address, routes) else position + 1


def next_order(
    held: Certificate | None,
    started: float,
    failures: Iterable[Failure],
    fingerprint: str,
    place: int,
) -> float:
    """Return when the load balancer whose rank is `place` orders.

    Each waits an hour longer than the one before, which hands its certificate over by then. Where the one before is
    dead, it has not.
    """
    due = renewal(held) if held else started
    for failure in failures:
        if failure["fingerprint"] == fingerprint:
            due = max(due, failure["until"])
    return due + place * HOUR


def gives_way(own: tuple[float, str], others: Iterable[tuple[float, str]], now: float) -> bool:
    """Tell whether another keeper orders already; each is given by when it began, 0 for not at all, and its name."""
    return any(
        other < own and now - other[0] < LONGEST_ORDER  #
        for other in others
        if other[0]
    )

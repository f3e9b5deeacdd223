"""Runs on the controller: the addresses of names, as the controller resolves them."""

from __future__ import annotations

import ipaddress
import socket
from functools import cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def literal(name: str) -> Address | None:
    """Return the address that `name` is, None where it is a name to resolve."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


@cache
def addresses_of(name: str) -> tuple[str, ...]:
    """Return the IPv4 addresses of `name`, sorted; an address is its own, and none is that of an unknown name.

    Only the controller resolves names: a rule of a firewall that has a name is resolved when a machine boots, before
    its network is up.
    """
    if literal(name):
        return (name,)
    # The resolver would read 10.1 as 10.0.0.1.
    if not name or name.rpartition(".")[2].isdigit():
        return ()
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(sorted({str(entry[4][0]) for entry in found}, key=ipaddress.ip_address))


def first_address(name: str) -> Address | None:
    """Return the first of `addresses_of`, None where there is none."""
    return next((literal(address) for address in addresses_of(name)), None)

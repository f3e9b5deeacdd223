"""Runs on the controller: reads numbers and addresses out of the values of an inventory, strictly."""

from __future__ import annotations

import ipaddress
import re

from ansible_collections.flotilla.fleet.plugins.plugin_utils.addresses import Address


def whole(value: object) -> int | None:
    """Return a whole number, also from the text that an INI inventory or the command line makes of it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value) else None


def is_number(value: object) -> bool:
    """Tell whether a value is a number or the text of one in decimal digits."""
    if isinstance(value, str):
        return re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", value) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def number(value: object) -> float | None:
    """Return a number, also from text, as `whole` does."""
    return float(str(value)) if is_number(value) else None


def ip_address(value: object) -> Address | None:
    """Return a literal IP address, in the one form that all its spellings share."""
    if not isinstance(value, str) or "%" in value:  # Nginx does not accept a zone, as in fe80::1%eth0
        return None
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def ip_interface(value: object) -> ipaddress.IPv4Interface | None:
    """Return an IPv4 address that a machine may have, with or without the length of its network's prefix."""
    # Python would take a netmask for the length, and a number for an address.
    if not isinstance(value, str) or not re.fullmatch(r"[0-9.]+(/[0-9]+)?", value):
        return None
    try:
        interface = ipaddress.IPv4Interface(value)
    except ValueError:
        return None
    address = interface.ip
    unusable = address.is_unspecified or address.is_loopback or address.is_multicast
    return None if unusable else interface

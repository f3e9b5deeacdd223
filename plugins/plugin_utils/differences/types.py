"""Runs on the controller: the shape of a difference."""

from __future__ import annotations

from typing import TypedDict


class Difference(TypedDict):
    """What is not as the inventory and the state want it, on one host."""

    host: str
    """The inventory host, or the machine's address where no line of the inventory explains what was found."""
    thing: str
    """What differs, by its kind and name, such as "container flotilla-node1-blue" or "firewall"."""
    wanted: str
    found: str
    mended_by: str
    """What to run, such as "site.yml"; empty where no run of Flotilla mends it."""
    change: str
    """What that run does, as a verb and its object for a sentence: "restart the container flotilla-node1-blue"."""

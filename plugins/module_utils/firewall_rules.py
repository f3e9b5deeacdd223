"""Runs on the host and on the controller: the rules of the fleet's firewall as iptables tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

CHAIN = "FLOTILLA"
"""The chain that has the rules."""

JUMPS: Mapping[str, str] = {"FORWARD": "DOCKER-USER", "DOCKER-USER": CHAIN, "INPUT": CHAIN}
"""Where a packet goes first in each chain on its way to CHAIN: what the machine forwards to a container, by the chain
that the engine keeps for its users, and what the machine itself takes, such as a program that publishes a port."""

FIRST, BEHIND, MISSING = "first", "behind other rules", "missing"


class Firewall(TypedDict):
    """The fleet's firewall on a machine."""

    rules: list[str]
    """Those of CHAIN, in order and as `normal` writes them."""
    jumps: dict[str, str]
    """FIRST, BEHIND or MISSING, for each chain of JUMPS."""


def found_firewall(listing: str) -> Firewall:
    """Return the firewall that `listing`, which is what iptables-save writes, has in the table filter."""
    rules: dict[str, list[str]] = {chain: [] for chain in (*JUMPS, CHAIN)}
    table = ""
    for line in listing.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        words = line.split()
        if table == "filter" and words[:1] == ["-A"] and words[1] in rules:
            rules[words[1]].append(normal(words))
    jumps = {chain: _place(rules[chain], f"-A {chain} -j {target}") for chain, target in JUMPS.items()}
    return {"rules": rules[CHAIN], "jumps": jumps}


def _place(rules: Sequence[str], jump: str) -> str:
    if jump not in rules:
        return MISSING
    return FIRST if rules[0] == jump else BEHIND


def normal(words: Sequence[str]) -> str:
    """Return a rule in one form: versions of iptables differ in the order of its matches, and in what they leave out.

    The chain comes first and the target last. The matches between them are sorted, without the names of the modules
    that match and the length of a whole address.
    """
    matches: list[str] = []
    target: list[str] = []
    place = 2
    while place < len(words):
        start = place
        place += words[place] == "!"
        option = words[place]
        place += 1
        while place < len(words) and not words[place].startswith("-") and words[place] != "!":
            place += 1
        text = [word.removesuffix("/32") for word in words[start:place]]
        if option in ("-j", "-g") or target:
            target += text
        elif option != "-m":
            matches.append(" ".join(text))
    return " ".join([*words[:2], *sorted(matches), *target])

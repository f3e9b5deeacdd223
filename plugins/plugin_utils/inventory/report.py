"""Runs on the controller: collects the mistakes of an inventory and words them, one line for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

LISTED_HOSTS = 5
"""How many hosts a line names before it says "and N more"."""

LONGEST_VALUE = 120

HIDDEN = object()
"""Stands for a value that is a secret, or may be one."""


@dataclass(frozen=True)
class Unreadable:
    """Stands for the value of a variable whose template fails."""

    reason: str


class Report:
    """The mistakes found so far. Hosts that share a mistake share its line."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._notes: dict[str, list[str]] = defaultdict(list)
        self._values: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)

    def line(self, text: str) -> None:
        """Add a mistake that no other host can share."""
        self._lines.append(text)

    def note(self, host: str, text: str) -> None:
        """Add a mistake of `host` that has nothing to do with a value. Hosts with the same text share a line."""
        self._notes[text].append(host)

    def value(self, host: str, variable: str, value: object, fix: str) -> None:
        """Add a wrong value. Hosts with the same `variable` and `fix` share a line."""
        self._values[variable, fix].append((host, shown(value)))

    def lines(self) -> list[str]:
        """Return a line for each mistake."""
        notes = [f"{listed(hosts)}: {text}" for text, hosts in self._notes.items()]
        return self._lines + notes + [self._merged(*key, found) for key, found in self._values.items()]

    @staticmethod
    def _merged(variable: str, fix: str, found: Sequence[tuple[str, str]]) -> str:
        if len({value for _, value in found}) == 1:
            return f"{listed([host for host, _ in found])}: {variable} is {found[0][1]}: {fix}"
        return f"{listed([f'{host} ({value})' for host, value in found])}: {variable} is wrong: {fix}"


def listed(names: Sequence[str]) -> str:
    """Return `names` with commas between them, and the number of those that are left out of a long list."""
    text = ", ".join(names[:LISTED_HOSTS])
    return text if len(names) <= LISTED_HOSTS else f"{text} and {len(names) - LISTED_HOSTS:,} more"


def shown(value: object) -> str:
    """Return a value on one line, as YAML writes it where that differs from Python."""
    if value is HIDDEN:
        return "(hidden)"
    if isinstance(value, Unreadable):
        return f"a template that fails ({value.reason})"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"

"""Runs on the controller: checks each variable of each host, whatever the others are."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.hosts import Members
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.renamed import RENAMED
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.report import (
    HIDDEN,
    Report,
    Unreadable,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.rules import RULES, type_fix
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import (
    EntryPoints,
    Option,
    parameters_in,
    settings_in,
)

ADDRESS = "ansible_host"
"""The one variable of Ansible's own that is checked: no role declares it."""


class KnownVariables:
    """What the roles say of the variables whose names begin with a role's."""

    def __init__(self, roles: EntryPoints) -> None:
        self.options = {
            name: option for options in settings_in(roles).values() for name, option in options.items()
        }
        self.parameters = parameters_in(roles)
        self._nearest: dict[str, str] = {}

    def misplaced(self, name: str) -> str | None:
        """Return why the variable may not stand in an inventory, whatever its value is; None if it may."""
        if name in RENAMED:
            return f"{name} is now {RENAMED[name]}: rename it"
        if name in self.parameters:
            return (
                f"{name} is a parameter, which playbooks give to role {self.parameters[name]}: remove it from the "
                "inventory"
            )
        return None

    def fix(self, name: str, value: object) -> str | None:
        """Return how to fix the variable, None if it is right."""
        if isinstance(value, Unreadable):
            if self.is_secret(name, value):
                return (
                    "its template fails; to see why, run: ansible load_balancers -m ansible.builtin.debug -a "
                    f"var={name}"
                )
            return "write a value that needs no facts and no other host's variables"
        if name in RULES:
            return RULES[name](value)
        if name in self.options:
            return type_fix(value, self.options[name])
        if name == ADDRESS:
            return None
        nearest = self.nearest(name)
        return "there is no such variable: " + (f"did you mean {nearest}?" if nearest else "delete it")

    def is_secret(self, name: str, value: object) -> bool:
        """Tell whether the value must not be shown."""
        if name in self.options:
            return bool(self.options[name].get("no_log"))
        if name == ADDRESS:
            return False
        # A key under a misspelt name is still a key.
        return (
            isinstance(value, Mapping)
            or bool(self.options.get(self.nearest(name), Option()).get("no_log"))
            or (isinstance(value, str) and "PRIVATE KEY" in value)
        )

    def nearest(self, name: str) -> str:
        """Return the setting whose name is nearest to `name`; empty if there are no settings."""
        if name not in self._nearest:
            self._nearest[name] = next(iter(difflib.get_close_matches(name, self.options, 1, 0.0)), "")
        return self._nearest[name]


def check_variables(members: Members, variables: KnownVariables, report: Report) -> None:
    """Report each variable that is unknown, misplaced, unreadable or wrong in itself."""
    for host in members.hosts:
        for name, value in host.variables.items():
            if note := variables.misplaced(name):
                report.note(host.name, note)
            elif fix := variables.fix(name, value):
                report.value(host.name, name, HIDDEN if variables.is_secret(name, value) else value, fix)

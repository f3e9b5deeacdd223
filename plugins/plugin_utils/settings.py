"""Runs on the controller: the settings of the roles, as their argument specs describe them.

A setting is a variable that a user may set in the inventory. Its default stands in the role's argument spec alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import yaml

try:  # the loader in C takes a tenth of the time
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

HostVars = Mapping[str, Mapping[str, Any]]
"""The variables of each inventory host, by the host's name."""

Groups = Mapping[str, Sequence[str]]
"""The hosts of each group of the inventory, by the group's name."""


class Option(TypedDict, total=False):
    """What an argument spec says of one variable."""

    type: str
    elements: str
    choices: list[str]
    default: Any
    required: bool
    no_log: bool
    description: str | list[str]


Specs = Mapping[str, Mapping[str, Option]]
"""The settings of every role, by the role's name."""

EntryPoints = Mapping[str, Mapping[str, Mapping[str, Option]]]
"""The options of every role, by the names of the role and of the entry point."""

CASTS: Mapping[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "bool": lambda value: str(value).lower() in {"true", "yes", "on", "1"},
}
"""How a value gets the type that the spec gives it. Values of the other types stay as they are."""


def entry_points(roles: Path) -> dict[str, dict[str, Mapping[str, Option]]]:
    """Return the options of each entry point of each role in the folder `roles`, by their names."""
    found: dict[str, dict[str, Mapping[str, Option]]] = {}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        specs = yaml.load(path.read_text(encoding="utf-8"), SafeLoader)["argument_specs"]
        found[path.parent.parent.name] = {name: spec.get("options") or {} for name, spec in specs.items()}
    return found


def settings_in(roles: EntryPoints) -> Specs:
    """Return the settings of each role: the options of its entry point `main`."""
    return {role: points.get("main", {}) for role, points in roles.items()}


def parameters_in(roles: EntryPoints) -> dict[str, str]:
    """Return the parameters of the roles, which playbooks give to them: the role's name, by the parameter's.

    A parameter is an option of an entry point other than `main` that is no role's setting.
    """
    settings = {name for options in settings_in(roles).values() for name in options}
    return {
        name: role
        for role, points in roles.items()
        for options in points.values()
        for name in options
        if name not in settings
    }


def role_specs(roles: str) -> Specs:
    """Return the settings of every role in the folder `roles`, by the role's name."""
    return settings_in(entry_points(Path(roles)))


ROLES: EntryPoints = entry_points(Path(__file__).parents[2] / "roles")
"""The roles of this collection. Read with the module, so that the processes that Ansible forks share them."""

SPECS = settings_in(ROLES)


def setting(hostvars: HostVars, host: str, name: str) -> Any:
    """Return the value of the setting `name` on `host`: the inventory's, else the default, in the spec's type.

    The default of an address is a template, which stays as it is: `topology.host_address` returns addresses.

    Raises:
        KeyError: when no role has a setting of this name.
    """
    option = next((options for options in SPECS.values() if name in options), {})[name]
    return typed(hostvars[host].get(name, option.get("default")), option)


def settings_of(hostvars: HostVars, host: str, role: str, specs: Specs = SPECS) -> dict[str, Any]:
    """Return the settings of `role` on `host`, by name without the role's: the inventory's value, else the default.

    Values have the spec's type. A setting with neither value nor default is None.
    """
    variables = hostvars[host]
    return {
        name.removeprefix(f"{role}_"): typed(variables.get(name, option.get("default")), option)
        for name, option in specs[role].items()
    }


def typed(value: Any, option: Option) -> Any:
    """Return `value` in the type that `option` has; None stays None.

    Raises:
        ValueError: when the value cannot be read as a number.
    """
    cast = CASTS.get(option.get("type", "str"))
    return cast(value) if cast and value is not None else value

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

CASTS: Mapping[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "bool": lambda value: str(value).lower() in {"true", "yes", "on", "1"},
}
"""How a value gets the type that the spec gives it. Values of the other types stay as they are."""


def role_specs(roles: Path | str) -> dict[str, dict[str, Option]]:
    """Return the settings of every role in the folder `roles`, by the role's name.

    The settings of a role are the options of its entry point `main`. The options of its other entry points are
    parameters, which playbooks and other roles give.
    """
    specs: dict[str, dict[str, Option]] = {}
    for path in sorted(Path(roles).glob("*/meta/argument_specs.yml")):
        entry_points = yaml.load(path.read_text(encoding="utf-8"), SafeLoader)["argument_specs"]
        specs[path.parent.parent.name] = entry_points.get("main", {}).get("options", {})
    return specs


SPECS: Specs = role_specs(Path(__file__).parents[2] / "roles")
"""The settings of this collection. Read with the module, so that the processes that Ansible forks share them."""


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

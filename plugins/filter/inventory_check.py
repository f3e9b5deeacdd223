"""Checks a whole inventory before any host is touched.

Every mistake is one line that names the hosts, the variable, its value and the cure. Hosts that share a
mistake share its line: a wrong group variable is one mistake, not a thousand.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import yaml

Option = Mapping[str, object]
"""What a role's argument_specs.yml says of one variable."""

Specs = Mapping[str, Mapping[str, Option]]
"""The options of every role, by the role's name."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LISTED = 5
"""How many hosts a line names before it says "and N more"."""

LONGEST_VALUE = 120

LONGEST_NAME = 63
"""What a part of a name may have between dots in the name that an endpoint's certificate carries."""

HIGHEST_PORT = 65535

TRUTHS = frozenset({"true", "false", "yes", "no", "on", "off"})


def inventory_errors(
    hostvars: Mapping[str, Mapping[str, object]], groups: Mapping[str, Sequence[str]], specs: Specs
) -> list[str]:
    """All mistakes of an inventory; none when it may be deployed."""
    report = Report()
    options = {name: option for role in specs.values() for name, option in role.items()}
    hosts = {name: _host(name, variables, specs) for name, variables in hostvars.items()}
    balancers = [hosts[name] for name in groups.get("load_balancers", [])]
    nodes = [hosts[name] for name in groups.get("model_nodes", [])]
    # The first load balancer builds the image and runs the registry unless another host is named for it.
    builders = ([hosts[name] for name in groups.get("image_builder", [])] or balancers)[:1]

    _check_groups(groups, nodes, report)
    _check_names(nodes, report)
    _check_variables(hosts.values(), options, report)
    _check_least_nodes(hosts.values(), len(nodes), report)
    for members, variable in (
        (nodes, "model_endpoint_address"),
        (balancers, "nginx_lb_address"),
        (builders, "registry_address"),
    ):
        _check_addresses(members, variable, report)
    endpoints = _listeners(nodes, "model_endpoint_address", "model_endpoint_port", options)
    others = [
        *_listeners(balancers, "nginx_lb_address", "nginx_lb_port", options),
        *_listeners(balancers, "nginx_lb_address", "nginx_lb_status_port", options),
        *_listeners(builders, "registry_address", "registry_port", options),
        *_listeners(builders, "registry_address", "registry_push_port", options),
    ]
    _check_endpoint_ports(endpoints, report)
    _check_other_ports(others, endpoints, report)
    return report.lines()


def role_specs(roles: str) -> dict[str, dict[str, Option]]:
    """The options of every role in a folder, those of all its entry points, by the role's name."""
    specs: dict[str, dict[str, Option]] = {}
    for path in sorted(Path(roles).glob("*/meta/argument_specs.yml")):
        role = specs[path.parent.parent.name] = {}
        for entry_point in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            role.update(entry_point.get("options", {}))
    return specs


class Report:
    """The mistakes found so far. Those that share the variable and the cure become one line."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._shared: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)

    def line(self, text: str) -> None:
        self._lines.append(text)

    def add(self, host: str, variable: str, value: object, cure: str) -> None:
        self._shared[variable, cure].append((host, _shown(value)))

    def lines(self) -> list[str]:
        return self._lines + [self._merged(*key, found) for key, found in self._shared.items()]

    @staticmethod
    def _merged(variable: str, cure: str, found: Sequence[tuple[str, str]]) -> str:
        if len({value for _, value in found}) == 1:
            return f"{_some([host for host, _ in found])}: {variable} is {found[0][1]}: {cure}"
        return f"{_some([f'{host} ({value})' for host, value in found])}: {variable} is wrong: {cure}"


@dataclass(frozen=True)
class Host:
    """An inventory host, with the variables of the roles and its address."""

    name: str
    variables: Mapping[str, object]

    def address(self, variable: str) -> tuple[str, object]:
        """Which variable tells the host's address, if not the given one, and what it says."""
        for candidate in (variable, "ansible_host"):
            if candidate in self.variables:
                return candidate, self.variables[candidate]
        return "inventory_hostname", self.name


@dataclass(frozen=True)
class Unreadable:
    """Stands for the value of a variable whose template fails."""

    reason: str


@dataclass(frozen=True)
class Listener:
    """A port that a container takes of a machine; an endpoint takes the next port as well."""

    host: str
    variable: str
    port: int
    address: Address

    def shares_machine(self, other: Listener) -> bool:
        return self.host == other.host or self.address == other.address


def _host(name: str, variables: Mapping[str, object], specs: Specs) -> Host:
    prefixes = tuple(f"{role}_" for role in specs)
    keys = [key for key in variables if key.startswith(prefixes) or key == "ansible_host"]
    return Host(name, {key: _read(variables, key) for key in keys})


def _read(variables: Mapping[str, object], key: str) -> object:
    """The value of a variable. Ansible renders it, and what is nested in it, as it is read."""
    try:
        value = variables[key]
        repr(value)
    except Exception as error:  # Ansible and Jinja raise many kinds, and each means the same here
        return Unreadable(" ".join(str(error).split()))
    return value


def _check_groups(groups: Mapping[str, Sequence[str]], nodes: Sequence[Host], report: Report) -> None:
    for group, purpose in (("load_balancers", "run Nginx"), ("model_nodes", "run an endpoint")):
        if not groups.get(group):
            near = difflib.get_close_matches(group, [name for name in groups if name != group], 1, 0.8)
            renamed = f", or rename the group {near[0]}" if near else ""
            report.line(f"{group}: the group has no host: add a host that is to {purpose}{renamed}")
    builders = groups.get("image_builder", [])
    if len(builders) > 1:
        report.line(f"image_builder: the group has {len(builders)} hosts ({_some(builders)}): leave one")
    if nodes and all(node.variables.get("model_endpoint_state") == "drained" for node in nodes):
        report.line(
            f"{_some([node.name for node in nodes])}: model_endpoint_state is 'drained' on every host of "
            "model_nodes, so nobody would answer: set it to present on one host at least"
        )


def _check_names(nodes: Iterable[Host], report: Report) -> None:
    for node in nodes:
        if (
            not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]*(\.[a-zA-Z0-9_-]+)*", node.name)
            or len(node.name) > LONGEST_NAME
        ):
            cure = (
                "no container or certificate can have this name: use letters, digits, '_', '-' and single dots, a "
                f"letter or digit first and no dot last, {LONGEST_NAME} at most, and give the address as ansible_host"
            )
            report.add(node.name, "inventory_hostname", node.name, cure)


def _check_variables(hosts: Iterable[Host], options: Mapping[str, Option], report: Report) -> None:
    @cache
    def unknown(variable: str) -> str:
        near = difflib.get_close_matches(variable, options, 1, 0.0)
        return "there is no such variable: " + (f"did you mean {near[0]}?" if near else "delete it")

    for host in hosts:
        for variable, value in host.variables.items():
            cure: str | None = None
            if isinstance(value, Unreadable):
                cure = "write a value that needs no facts and no other host's variables"
            elif variable in RULES:
                cure = RULES[variable](value)
            elif variable in options:
                cure = _type_cure(value, options[variable])
            elif variable != "ansible_host":
                cure = unknown(variable)
            if cure:
                report.add(host.name, variable, value, cure)


def _check_least_nodes(hosts: Iterable[Host], nodes: int, report: Report) -> None:
    variable = "nginx_lb_min_nodes"
    for host in hosts:
        least = host.variables.get(variable)
        if nodes and (_whole(least) or 0) > nodes:
            cure = f"model_nodes has {nodes} host{'s' * (nodes > 1)}: set {nodes} at most, or add hosts"
            report.add(host.name, variable, least, cure)


def _check_addresses(hosts: Iterable[Host], variable: str, report: Report) -> None:
    for host in hosts:
        source, value = host.address(variable)
        # The variable itself has been checked, like all others; here it is missing.
        if source != variable and not isinstance(value, Unreadable) and _address_cure(value):
            report.add(host.name, source, value, f"this is no IP address: set {variable} to one")


def _check_endpoint_ports(endpoints: Iterable[Listener], report: Report) -> None:
    machines: dict[Address, list[Listener]] = defaultdict(list)
    for endpoint in endpoints:
        machines[endpoint.address].append(endpoint)
    for address, neighbours in machines.items():
        neighbours.sort(key=lambda endpoint: endpoint.port)
        pairs = [pair for pair in pairwise(neighbours) if pair[1].port - pair[0].port < 2]
        if pairs:
            clashing = list(dict.fromkeys(endpoint for pair in pairs for endpoint in pair))
            free = neighbours[-1].port + 2
            example = f", such as {free}" if free < HIGHEST_PORT else ""
            report.line(
                f"{_some([f'{endpoint.host} ({endpoint.port})' for endpoint in clashing])}: "
                f"model_endpoint_port overlaps at {address}, as an endpoint takes its port and the next one: "
                f"set another on {clashing[-1].host}{example}"
            )


def _check_other_ports(others: Sequence[Listener], endpoints: Iterable[Listener], report: Report) -> None:
    taken: dict[int, list[Listener]] = defaultdict(list)
    for endpoint in endpoints:
        taken[endpoint.port].append(endpoint)
        taken[endpoint.port + 1].append(endpoint)
    for other in others:
        for rival in taken[other.port]:
            if rival.shares_machine(other):
                cure = (
                    f"{other.variable} of {other.host} takes port {other.port} of the same machine: "
                    f"set another {rival.variable}"
                )
                report.add(rival.host, rival.variable, rival.port, cure)
        taken[other.port].append(other)


def _listeners(
    hosts: Iterable[Host], address_variable: str, variable: str, options: Mapping[str, Option]
) -> list[Listener]:
    """The hosts' listeners, without those whose port or address has been found wrong."""
    default = options.get(variable, {}).get("default")
    found = []
    for host in hosts:
        port = _whole(host.variables.get(variable, default))
        address = _address(host.address(address_variable)[1])
        if port is not None and address is not None:
            found.append(Listener(host.name, variable, port, address))
    return found


def _whole(value: object) -> int | None:
    """A whole number, also from the text that an INI inventory or the command line makes of it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value) else None


def _address(value: object) -> Address | None:
    """A literal IP address, in the one form that all its spellings share."""
    if not isinstance(value, str) or "%" in value:  # Nginx knows no zones, as in fe80::1%eth0
        return None
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _count_cure(value: object) -> str | None:
    return None if (_whole(value) or 0) >= 1 else "set a whole number of at least 1"


def _weight_cure(value: object) -> str | None:
    cure = _count_cure(value)
    return cure and f"{cure} (to send it no requests, set model_endpoint_state: drained)"


def _port_cure(value: object, highest: int) -> str | None:
    if 1 <= (_whole(value) or 0) <= highest:
        return None
    return f"set a port from 1 to {highest}"


def _address_cure(value: object) -> str | None:
    address = _address(value)
    if address is None:
        return "set a literal IP address, such as 192.0.2.10"
    if address.is_unspecified:
        return "this stands for every address of the machine: set the one that the fleet reaches it at"
    return None


def _seconds_cure(value: object) -> str | None:
    seconds = _whole(value)
    return None if seconds is not None and seconds >= 0 else "set a whole number of seconds, 0 or more"


def _percent_cure(value: object) -> str | None:
    number = _number(value)
    return None if number is not None and 0 <= number <= 100 else "set a number from 0 to 100"


def _not_negative_cure(value: object) -> str | None:
    number = _number(value)
    return None if number is not None and 0 <= number < math.inf else "set a number of 0 or more"


def _positive_cure(value: object) -> str | None:
    number = _number(value)
    return None if number is not None and 0 < number < math.inf else "set a number above 0"


def _canary_steps_cure(value: object) -> str | None:
    shape = (
        "set a list of steps, each with percent and bake alone, such as [{percent: 5, bake: 60}, "
        "{percent: 100, bake: 0}]"
    )
    if not isinstance(value, (list, tuple)):
        return shape
    reached = 0.0
    for number, step in enumerate(value, 1):
        if not isinstance(step, Mapping) or set(step) != {"percent", "bake"}:
            return shape
        percent = _number(step["percent"])
        if percent is None or not 0 < percent <= 100:
            return f"percent of step {number} is {_shown(step['percent'])}: set a number above 0, 100 at most"
        if percent <= reached:
            return f"percent of step {number} is {_shown(step['percent'])}: set more than in the step before"
        if _not_negative_cure(step["bake"]):
            return f"bake of step {number} is {_shown(step['bake'])}: set seconds, 0 or more"
        reached = percent
    return None


def _header_cure(value: object) -> str | None:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9-]*", value):
        return None
    return "set the name of a request header, such as X-API-Key: letters, digits and '-'; or '' for none"


def _type_cure(value: object, option: Option) -> str | None:
    if value is None and option.get("default") is None and not option.get("required"):
        return None
    kind = str(option.get("type", "str"))
    if kind in TYPES:
        wanted, fits = TYPES[kind]
        if not fits(value):
            return f"set {wanted}"
    choices = option.get("choices")
    if isinstance(choices, list):
        chosen = value if isinstance(value, list) else [value]
        if not {str(item) for item in chosen} <= {str(choice) for choice in choices}:
            return f"set {'some' if kind == 'list' else 'one'} of {', '.join(map(str, choices))}"
    return None


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", value) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: object) -> float | None:
    """A number, also from text, as with `_whole`."""
    return float(str(value)) if _is_number(value) else None


def _shown(value: object) -> str:
    """A value on one line, as YAML would have it where that differs from Python."""
    if isinstance(value, Unreadable):
        return f"a template that fails ({value.reason})"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _some(names: Sequence[str]) -> str:
    listed = ", ".join(names[:LISTED])
    return listed if len(names) <= LISTED else f"{listed} and {len(names) - LISTED:,} more"


RULES: Mapping[str, Callable[[object], str | None]] = {
    "model_endpoint_weight": _weight_cure,
    "model_endpoint_workers": _count_cure,
    "model_endpoint_threads": _count_cure,
    # The green slot takes the port after the blue one's.
    "model_endpoint_port": lambda value: _port_cure(value, HIGHEST_PORT - 1),
    "nginx_lb_port": lambda value: _port_cure(value, HIGHEST_PORT),
    "nginx_lb_status_port": lambda value: _port_cure(value, HIGHEST_PORT),
    "registry_port": lambda value: _port_cure(value, HIGHEST_PORT),
    "registry_push_port": lambda value: _port_cure(value, HIGHEST_PORT),
    "model_endpoint_address": _address_cure,
    "nginx_lb_address": _address_cure,
    "registry_address": _address_cure,
    "model_endpoint_answer_seconds": _positive_cure,
    "nginx_lb_min_nodes": _count_cure,
    "nginx_lb_ramp_seconds": _seconds_cure,
    "nginx_lb_drain_timeout": _seconds_cure,
    "nginx_lb_bake_seconds": _seconds_cure,
    # It has no default: empty is what it is without a line in the inventory.
    "nginx_lb_canary_percent": lambda value: None if value is None else _percent_cure(value),
    "nginx_lb_canary_steps": _canary_steps_cure,
    "nginx_lb_canary_key": _header_cure,
    "nginx_lb_shadow_percent": _percent_cure,
    "nginx_lb_watch_min_requests": _count_cure,
    "nginx_lb_watch_failure_points": _not_negative_cure,
    "nginx_lb_watch_p95_factor": _not_negative_cure,
    "nginx_lb_watch_p95_floor": _not_negative_cure,
    "release_lock_wait": _seconds_cure,
}
"""What the type of a variable cannot tell; the other variables are held to their type and choices."""

TYPES: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "str": ("a text", lambda value: isinstance(value, str) or _is_number(value)),
    "path": ("a path", lambda value: isinstance(value, str)),
    "int": ("a whole number", lambda value: _whole(value) is not None),
    "float": ("a number", _is_number),
    "bool": ("true or false", lambda value: str(value).lower() in TRUTHS),
    "list": ("a list", lambda value: isinstance(value, (list, tuple))),
    "dict": ("a mapping", lambda value: isinstance(value, Mapping)),
}
"""The types of argument_specs. Ansible would also take true for the number 1 and 'a, b' for a list."""


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"inventory_errors": inventory_errors, "role_specs": role_specs}

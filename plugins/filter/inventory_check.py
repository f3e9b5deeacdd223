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

from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import role_specs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

Option = Mapping[str, object]
"""What a role's argument_specs.yml says of one variable."""

Specs = Mapping[str, Mapping[str, Option]]
"""The options of every role, by the role's name."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LISTED = 5
"""How many hosts a line names before it says "and N more"."""

LONGEST_VALUE = 120

HIDDEN = object()
"""Stands for a value that is a secret, or may be one."""

LONGEST_NAME = 63
"""What a part of a name may have between dots in the name that an endpoint's certificate carries."""

HIGHEST_PORT = 65535

OWN_ADDRESSES = ("model_endpoint_address", "nginx_lb_address", "registry_address")

CERTIFICATE = "nginx_lb_tls_certificate"

KEY = "nginx_lb_tls_key"

FROM_FILE = "its text, or \"{{{{ lookup('file', inventory_dir ~ '/{}') }}}}\" for a file"

TLS_SETTINGS: Mapping[str, Sequence[str]] = {
    CERTIFICATE: ("own",),
    KEY: ("own",),
    "nginx_lb_tls_names": ("internal",),
    "nginx_lb_tls_hsts_seconds": ("own", "internal"),
}
"""Which values of nginx_lb_tls make use of a variable."""

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
    _check_virtual_address(balancers, hosts.values(), report)
    _check_tls(balancers, report)
    endpoints = _listeners(nodes, "model_endpoint_address", "model_endpoint_port", options)
    others = [
        *_listeners(balancers, "nginx_lb_address", "nginx_lb_port", options),
        *_listeners(filter(_tls, balancers), "nginx_lb_address", "nginx_lb_tls_port", options),
        *_listeners(balancers, "nginx_lb_address", "nginx_lb_status_port", options),
        *_listeners(builders, "registry_address", "registry_port", options),
        *_listeners(builders, "registry_address", "registry_push_port", options),
    ]
    _check_endpoint_ports(endpoints, report)
    _check_other_ports(others, endpoints, report)
    return report.lines()


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
    def meant(variable: str) -> str:
        return next(iter(difflib.get_close_matches(variable, options, 1, 0.0)), "")

    def unknown(variable: str) -> str:
        near = meant(variable)
        return "there is no such variable: " + (f"did you mean {near}?" if near else "delete it")

    def secret(variable: str, value: object) -> bool:
        if variable in options:
            return bool(options[variable].get("no_log"))
        # Keys under a misspelt name are still keys.
        return (
            isinstance(value, Mapping)
            or bool(options.get(meant(variable), {}).get("no_log"))
            or (isinstance(value, str) and "PRIVATE KEY" in value)
        )

    for host in hosts:
        for variable, value in host.variables.items():
            cure: str | None = None
            if isinstance(value, Unreadable):
                cure = "write a value that needs no facts and no other host's variables"
                if secret(variable, value):
                    cure = f"its template fails; why, says: ansible load_balancers -m debug -a var={variable}"
            elif variable in RULES:
                cure = RULES[variable](value)
            elif variable in options:
                cure = _type_cure(value, options[variable])
            elif variable != "ansible_host":
                cure = unknown(variable)
            if cure:
                report.add(host.name, variable, HIDDEN if secret(variable, value) else value, cure)


def _check_least_nodes(hosts: Iterable[Host], nodes: int, report: Report) -> None:
    variable = "release_min_nodes"
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


def _check_virtual_address(balancers: Sequence[Host], hosts: Iterable[Host], report: Report) -> None:
    variable = "virtual_address_ip"
    values = {host.name: host.variables.get(variable) for host in balancers}
    wanted = {name: value for name, value in values.items() if _interface(value)}
    if not wanted:
        return
    if len(set(map(str, values.values()))) > 1:
        shown = _some([f"{name} ({_shown(value)})" for name, value in values.items()])
        report.line(f"{shown}: {variable} is not the same on all: set it for the group load_balancers")
        return
    if len(balancers) < 2:
        cure = "there is nobody to hand it to: add a second host to load_balancers, or delete this"
        report.add(balancers[0].name, variable, values[balancers[0].name], cure)
    virtual = _interface(values[balancers[0].name])
    for host in hosts:
        own = [host.address(name)[1] for name in (*OWN_ADDRESSES, "ansible_host")]
        if virtual and virtual.ip in map(_address, own):
            cure = f"this is {host.name}'s own address: set one that no machine has"
            for name, value in wanted.items():
                report.add(name, variable, value, cure)
    for host in balancers:
        source, value = host.address("nginx_lb_address")
        if isinstance(_address(value), ipaddress.IPv6Address):
            report.add(
                host.name,
                source,
                value,
                f"{variable} needs an IPv4 address here: set nginx_lb_address to one",
            )


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


def _tls(balancer: Host) -> str:
    """How a load balancer comes by the certificate it shows clients; empty where it shows none."""
    value = balancer.variables.get("nginx_lb_tls")
    return value if value in ("own", "internal") else ""


def _check_tls(balancers: Sequence[Host], report: Report) -> None:
    modes = {balancer.name: _tls(balancer) or "off" for balancer in balancers}
    if len(set(modes.values())) > 1:
        shown = _some([f"{name} ({mode})" for name, mode in modes.items()])
        report.line(f"{shown}: nginx_lb_tls is not the same on all: set it for the group load_balancers")
    for balancer in balancers:
        mode = modes[balancer.name]
        for variable, users in TLS_SETTINGS.items():
            value = balancer.variables.get(variable)
            if (
                mode not in users
                and value not in (None, "", [], 0, "0")
                and not isinstance(value, Unreadable)
            ):
                cure = (
                    f"nginx_lb_tls is {mode}, which makes no use of it: set {users[0]} there, or delete this"
                )
                report.add(balancer.name, variable, HIDDEN if variable in (CERTIFICATE, KEY) else value, cure)
        if mode == "own":
            _check_pair(balancer, report)


def _check_pair(balancer: Host, report: Report) -> None:
    """Check a certificate and its key, which Nginx would find wrong too, but later and in other words."""
    certificate, key = (balancer.variables.get(name) for name in (CERTIFICATE, KEY))
    if isinstance(certificate, Unreadable) or isinstance(key, Unreadable):
        return
    chain, private = _certificates(certificate), _private_key(key)
    if not chain:
        # Somebody may have taken the one for the other.
        cure = f"set it to a certificate in PEM form, as nginx_lb_tls is own: {FROM_FILE.format('fullchain.pem')}"
        report.add(balancer.name, CERTIFICATE, HIDDEN if certificate else certificate, cure)
    if isinstance(private, str):
        report.add(balancer.name, KEY, HIDDEN if key else key, private)
    elif chain and chain[0].public_key() != private.public_key():
        cure = f"it is not the key of {CERTIFICATE}: set the one that the certificate was asked for with"
        if private.public_key() in [issuer.public_key() for issuer in chain]:
            cure = (
                f"it is not the key of the first certificate in {CERTIFICATE}: put that of the server first"
            )
        report.add(balancer.name, KEY, HIDDEN, cure)


def _certificates(value: object) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(value.encode()) if isinstance(value, str) else []
    except ValueError:
        return []


def _private_key(value: object) -> PrivateKeyTypes | str:
    """A private key, or what to do about one that can't be read."""
    try:
        return load_pem_private_key(value.encode() if isinstance(value, str) else b"", None)
    except TypeError:
        return "it has a passphrase, which Nginx can't be asked: write it without one, and encrypt it by ansible-vault"
    except Exception:  # cryptography raises many kinds, and each means the same here
        return f"set it to a private key in PEM form, as nginx_lb_tls is own: {FROM_FILE.format('door.key')}"


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


def _interface(value: object) -> ipaddress.IPv4Interface | None:
    """An IPv4 address that a machine may have, with or without the length of its network's prefix."""
    # Python would take a netmask for the length, and a number for an address.
    if not isinstance(value, str) or not re.fullmatch(r"[0-9.]+(/[0-9]+)?", value):
        return None
    try:
        address = ipaddress.IPv4Interface(value)
    except ValueError:
        return None
    ip = address.ip
    return None if ip.is_unspecified or ip.is_loopback or ip.is_multicast else address


def _virtual_address_cure(value: object) -> str | None:
    if value is None or _interface(value):
        return None
    return "set an IPv4 address, such as 192.0.2.10 or 192.0.2.10/24"


def _count_cure(value: object) -> str | None:
    return _least_cure(value, 1)


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


def _least_cure(value: object, least: int) -> str | None:
    number = _whole(value)
    return None if number is not None and number >= least else f"set a whole number of at least {least}"


def _networks_cure(value: object) -> str | None:
    if not isinstance(value, (list, tuple)):
        return "set a list of addresses and networks, such as [192.0.2.7, 10.0.0.0/8]"
    for item in value:
        try:
            ipaddress.ip_network(item if isinstance(item, str) and "%" not in item else "")
        except ValueError:
            return f"{_shown(item)} is no address and no network: write one such as 192.0.2.7 or 10.0.0.0/8"
    return None


def _proxies_cure(value: object) -> str | None:
    cure = _networks_cure(value)
    if cure or not isinstance(value, (list, tuple)):
        return cure
    everyone = [item for item in value if ipaddress.ip_network(item).prefixlen == 0]
    return f"{everyone[0]!r} trusts everyone to say who they are: list your proxies" if everyone else None


def _keys_cure(value: object) -> str | None:
    """What is wrong with the API keys, in words that hold none of them."""
    if not isinstance(value, Mapping):
        return "set a mapping of names to keys"
    for number, (name, key) in enumerate(value.items(), 1):
        if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}", name):
            return f"the name of entry {number} won't do: use letters, digits, '.', '_' and '-', 64 at most"
        if not isinstance(key, str) or not re.fullmatch(r"[a-zA-Z0-9._~+/=-]{24,512}", key):
            return (
                f"the key of entry {number} won't do: write 24 to 512 letters, digits and '._~+/=-' in quotes; "
                "openssl rand -hex 24 makes one"
            )
    if len(set(value.values())) < len(value):
        return "two names have the same key: give each its own"
    return None


def _tls_cure(value: object) -> str | None:
    # False is what YAML makes of off.
    return None if value is False or value in ("off", "own", "internal") else "set off, own or internal"


def _names_cure(value: object) -> str | None:
    if not isinstance(value, (list, tuple)):
        return "set a list of DNS names, such as [models.example.com]"
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", name):
            return f"{_shown(name)} is no DNS name: write one such as models.example.com"
    return None


def _quotas_cure(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return "set a mapping of routes to requests a second, such as {/invocations: 5}"
    for route, rate in value.items():
        if not isinstance(route, str) or not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", route):
            return (
                f"{_shown(route)} is no beginning of a route: write one such as /invocations or /v2/models/iris; "
                "for all routes there is nginx_lb_rate"
            )
        if cure := _count_cure(rate):
            return f"{route} has {_shown(rate)}: {cure}"
    return None


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
    "nginx_lb_tls": _tls_cure,
    "nginx_lb_tls_port": lambda value: _port_cure(value, HIGHEST_PORT),
    "nginx_lb_tls_names": _names_cure,
    "nginx_lb_tls_hsts_seconds": _seconds_cure,
    "nginx_lb_trusted_proxies": _proxies_cure,
    "nginx_lb_operators": _networks_cure,
    "nginx_lb_api_keys": _keys_cure,
    "nginx_lb_rate": lambda value: _least_cure(value, 0),
    "nginx_lb_quotas": _quotas_cure,
    "nginx_lb_burst": _count_cure,
    "nginx_lb_client_connections": lambda value: _least_cure(value, 0),
    "nginx_lb_client_timeout": _count_cure,
    "registry_port": lambda value: _port_cure(value, HIGHEST_PORT),
    "registry_push_port": lambda value: _port_cure(value, HIGHEST_PORT),
    "model_endpoint_address": _address_cure,
    "nginx_lb_address": _address_cure,
    "virtual_address_ip": _virtual_address_cure,
    "registry_address": _address_cure,
    "model_endpoint_answer_seconds": _positive_cure,
    "release_min_nodes": _count_cure,
    "release_ramp_seconds": _seconds_cure,
    "release_drain_timeout": _seconds_cure,
    "release_bake_seconds": _seconds_cure,
    # It has no default: empty is what it is without a line in the inventory.
    "release_canary_percent": lambda value: None if value is None else _percent_cure(value),
    "release_canary_steps": _canary_steps_cure,
    "release_canary_key": _header_cure,
    "release_shadow_percent": _percent_cure,
    "release_watch_min_requests": _count_cure,
    "release_watch_failure_points": _not_negative_cure,
    "release_watch_p95_factor": _not_negative_cure,
    "release_watch_p95_floor": _not_negative_cure,
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

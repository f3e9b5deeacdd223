"""Runs on the controller: the rules that the value of one setting has to follow.

A rule takes a value and returns how to fix it, or None when the value is right.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from functools import partial

from ansible_collections.flotilla.fleet.plugins.plugin_utils.addresses import addresses_of
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.report import listed, shown
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.values import (
    ip_address,
    ip_interface,
    is_number,
    number,
    whole,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.receivers import receivers_fix
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Option

MACHINE_ADDRESS = "machine_address"

Rule = Callable[[object], str | None]

HIGHEST_PORT = 65535

BOOLEANS = frozenset({"true", "false", "yes", "no", "on", "off"})

TYPES: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "str": ("a string", lambda value: isinstance(value, str) or is_number(value)),
    "path": ("a path", lambda value: isinstance(value, str)),
    "int": ("a whole number", lambda value: whole(value) is not None),
    "float": ("a number", is_number),
    "bool": ("true or false", lambda value: str(value).lower() in BOOLEANS),
    "list": ("a list", lambda value: isinstance(value, (list, tuple))),
    "dict": ("a mapping", lambda value: isinstance(value, Mapping)),
}
"""What to set for each type of an argument spec, and whether a value is of the type.

Ansible itself is less strict: it takes true for the number 1, and 'a, b' for a list.
"""


def type_fix(value: object, option: Option) -> str | None:
    """Return how to fix a value that does not have the type of its option, or is not one of its choices."""
    if value is None and option.get("default") is None and not option.get("required"):
        return None
    kind = option.get("type", "str")
    if kind in TYPES:
        wanted, fits = TYPES[kind]
        if not fits(value):
            return f"set {wanted}"
    if choices := option.get("choices"):
        chosen = value if isinstance(value, list) else [value]
        if not {str(item) for item in chosen} <= {str(choice) for choice in choices}:
            return f"set {'some' if kind == 'list' else 'one'} of {', '.join(map(str, choices))}"
    return None


def _at_least(least: int, value: object) -> str | None:
    found = whole(value)
    return None if found is not None and found >= least else f"set a whole number of at least {least}"


_count = partial(_at_least, 1)

_zero_or_more = partial(_at_least, 0)


def _weight(value: object) -> str | None:
    fix = _count(value)
    return fix and f"{fix} (to send a node no requests, set model_endpoint_state: drained)"


def _port(highest: int, value: object) -> str | None:
    return None if 1 <= (whole(value) or 0) <= highest else f"set a port from 1 to {highest}"


_any_port = partial(_port, HIGHEST_PORT)


def address_fix(value: object) -> str | None:
    """Return how to fix a value that is not the literal IP address of one machine."""
    address = ip_address(value)
    if address is None:
        return "set a literal IP address, such as 192.0.2.10"
    if address.is_unspecified:
        return "this means every address of the machine: set the one at which the fleet reaches the machine"
    return None


def machine_fix(value: object) -> str | None:
    """Return how to fix a value that is neither the address of one machine nor a name that has one such address."""
    if ip_address(value) or not isinstance(value, str):
        return address_fix(value)
    found = addresses_of(value)
    if not found:
        return f"the controller can't resolve this name: set {MACHINE_ADDRESS} to an IP address, or to a name it can"
    if len(found) > 1:
        return f"this name has the addresses {listed(found)}: set {MACHINE_ADDRESS} to one of them"
    # Debian gives a machine's own name such an address on the machine.
    if found[0].startswith("127.") and value != "localhost":
        return (
            f"this name is {found[0]} on the controller, where no other machine is: set {MACHINE_ADDRESS} to the "
            "machine's IP address"
        )
    return None


def _virtual_address(value: object) -> str | None:
    if value is None or ip_interface(value):
        return None
    return "set an IPv4 address, such as 192.0.2.10 or 192.0.2.10/24"


def _seconds(value: object) -> str | None:
    seconds = whole(value)
    return None if seconds is not None and seconds >= 0 else "set a whole number of seconds, 0 or more"


def _percent(value: object) -> str | None:
    found = number(value)
    return None if found is not None and 0 <= found <= 100 else "set a number from 0 to 100"


def _objective(value: object) -> str | None:
    # An objective of 100 leaves no budget, and every failure would burn it.
    found = number(value)
    return None if found is not None and 0 < found < 100 else "set a number above 0 and below 100"


def _optional_percent(value: object) -> str | None:
    # The setting has no default: empty means the same as no line in the inventory.
    return None if value is None else _percent(value)


def _not_negative(value: object) -> str | None:
    found = number(value)
    return None if found is not None and 0 <= found < math.inf else "set a number of 0 or more"


def _positive(value: object) -> str | None:
    found = number(value)
    return None if found is not None and 0 < found < math.inf else "set a number above 0"


def _canary_steps(value: object) -> str | None:
    form = (
        "set a list of steps, each with percent and bake only, such as [{percent: 5, bake: 60}, "
        "{percent: 100, bake: 0}]"
    )
    if not isinstance(value, (list, tuple)):
        return form
    reached = 0.0
    for position, step in enumerate(value, 1):
        if not isinstance(step, Mapping) or set(step) != {"percent", "bake"}:
            return form
        percent = number(step["percent"])
        found = f"percent of step {position} is {shown(step['percent'])}"
        if percent is None or not 0 < percent <= 100:
            return f"{found}: set a number above 0 and at most 100"
        if percent <= reached:
            return f"{found}: set more than in the step before"
        if _not_negative(step["bake"]):
            return f"bake of step {position} is {shown(step['bake'])}: set seconds, 0 or more"
        reached = percent
    return None


def _header(value: object) -> str | None:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9-]*", value):
        return None
    return "set the name of a request header, such as X-API-Key: letters, digits and '-'; or '' for no header"


def _networks(value: object) -> str | None:
    if not isinstance(value, (list, tuple)):
        return "set a list of addresses and networks, such as [192.0.2.7, 10.0.0.0/8]"
    for item in value:
        try:
            ipaddress.ip_network(item if isinstance(item, str) and "%" not in item else "")
        except ValueError:
            return f"{shown(item)} is neither an address nor a network: write one, such as 192.0.2.7 or 10.0.0.0/8"
    return None


def _proxies(value: object) -> str | None:
    fix = _networks(value)
    if fix or not isinstance(value, (list, tuple)):
        return fix
    everything = [item for item in value if ipaddress.ip_network(item).prefixlen == 0]
    return (
        f"{everything[0]!r} trusts any client to name its own address: list your proxies"
        if everything
        else None
    )


def _api_keys(value: object) -> str | None:
    """Return how to fix API keys, in words that contain no key."""
    if not isinstance(value, Mapping):
        return "set a mapping of names to keys"
    for position, (name, key) in enumerate(value.items(), 1):
        if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}", name):
            return (
                f"the name of entry {position} is not valid: use at most 64 letters, digits, '.', '_' and '-', "
                "with a letter or digit first"
            )
        if not isinstance(key, str) or not re.fullmatch(r"[a-zA-Z0-9._~+/=-]{24,512}", key):
            return (
                f"the key of entry {position} is not valid: write 24 to 512 letters, digits and '._~+/=-' in quotes; "
                "openssl rand -hex 24 makes one"
            )
    if len(set(value.values())) < len(value):
        return "two names have the same key: give each name a key of its own"
    return None


def _ipv4_addresses(value: object) -> str | None:
    if not isinstance(value, (list, tuple)):
        return "set a list of IPv4 addresses, such as [192.0.2.60]"
    wrong = [item for item in value if not isinstance(ip_address(item), ipaddress.IPv4Address)]
    return f"{shown(wrong[0])} is no IPv4 address: write one, such as 192.0.2.60" if wrong else None


def _disk_size(value: object) -> str | None:
    fits = isinstance(value, str) and re.fullmatch(r"[1-9][0-9]*(MB|GB|TB)", value)
    return None if fits else "set a size, such as 500MB or 10GB"


def _tls(value: object) -> str | None:
    # False is what YAML makes of off.
    return (
        None
        if value is False or value in ("off", "own", "internal", "acme")
        else "set off, own, internal or acme"
    )


def _directory(value: object) -> str | None:
    if isinstance(value, str) and re.fullmatch(r"https://[^\s/]+/\S*", value):
        return None
    return (
        "set the https address of an ACME directory, such as https://acme-v02.api.letsencrypt.org/directory"
    )


def _optional_directory(value: object) -> str | None:
    return None if value in ("", None) else _directory(value)


def _external_account(value: object) -> str | None:
    if not isinstance(value, Mapping) or (value and set(value) != {"kid", "hmac_key"}):
        return "set a mapping with kid and hmac_key, as the CA gives them"
    return (
        None
        if all(isinstance(part, str) and part for part in value.values())
        else "set texts as kid and hmac_key"
    )


def _dns_names(value: object) -> str | None:
    if not isinstance(value, (list, tuple)):
        return "set a list of DNS names, such as [models.example.com]"
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", name):
            return f"{shown(name)} is not a DNS name: write one, such as models.example.com"
    return None


def _url(value: object) -> str | None:
    if isinstance(value, str) and re.fullmatch(r"(https?://[^\s\"'/]+[^\s\"']*)?", value):
        return None
    return "set a URL, such as http://mirror.example/debian, or '' for none"


def _row_limits(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return "set a mapping of models to rows, such as {churn: 5000}"
    for model, rows in value.items():
        if fix := _count(rows):
            return f"{model} has {shown(rows)}: {fix}"
    return None


def _quotas(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return "set a mapping of routes to requests a second, such as {/invocations: 5}"
    for route, rate in value.items():
        if not isinstance(route, str) or not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", route):
            return (
                f"{shown(route)} is not the beginning of a route: write one, such as /invocations or "
                "/v2/models/iris; to limit all routes, set nginx_lb_rate"
            )
        if fix := _count(rate):
            return f"{route} has {shown(rate)}: {fix}"
    return None


RULES: Mapping[str, Rule] = {
    MACHINE_ADDRESS: machine_fix,
    "acme_attempt": _count,
    "acme_directory_url": _directory,
    "acme_external_account": _external_account,
    "acme_port": _any_port,
    "acme_staging_url": _optional_directory,
    "fleet_page_port": _any_port,
    "model_endpoint_address": address_fix,
    "model_endpoint_answer_seconds": _positive,
    # The green slot has the port after the blue slot's.
    "model_endpoint_port": partial(_port, HIGHEST_PORT - 1),
    "model_endpoint_row_limits": _row_limits,
    "model_endpoint_threads": _count,
    "model_endpoint_weight": _weight,
    "model_endpoint_workers": _count,
    "model_image_package_index": _url,
    "monitoring_alertmanager_port": _any_port,
    "monitoring_canary_hours": _count,
    "monitoring_certificate_days": _count,
    "monitoring_clock_seconds": _positive,
    "monitoring_disk_hours": _count,
    "monitoring_disk_percent": _percent,
    "monitoring_drift_minutes": _count,
    "monitoring_error_objective": _objective,
    "monitoring_fewest_failures": _count,
    "monitoring_latency_objective": _objective,
    "monitoring_memory_percent": _percent,
    "monitoring_outside": _ipv4_addresses,
    "monitoring_overload_percent": _percent,
    "monitoring_prometheus_port": _any_port,
    "monitoring_receivers": receivers_fix,
    "monitoring_refused_percent": _percent,
    "monitoring_retention_days": _count,
    "monitoring_retention_size": _disk_size,
    "monitoring_retried_percent": _percent,
    "monitoring_unknown_percent": _percent,
    "nginx_lb_address": address_fix,
    "nginx_lb_api_keys": _api_keys,
    "nginx_lb_burst": _count,
    "nginx_lb_client_connections": _zero_or_more,
    "nginx_lb_client_timeout": _count,
    "nginx_lb_long_work": _zero_or_more,
    "nginx_lb_metrics_port": _any_port,
    "nginx_lb_operators": _networks,
    "nginx_lb_port": _any_port,
    "nginx_lb_quotas": _quotas,
    "nginx_lb_rate": _zero_or_more,
    "nginx_lb_status_port": _any_port,
    "nginx_lb_tls": _tls,
    "nginx_lb_tls_hsts_seconds": _seconds,
    "nginx_lb_tls_names": _dns_names,
    "nginx_lb_tls_port": _any_port,
    "nginx_lb_trusted_proxies": _proxies,
    "node_exporter_port": _any_port,
    "registry_address": address_fix,
    "registry_debian_mirror": _url,
    "registry_debian_proxy": _url,
    "registry_port": _any_port,
    "registry_push_port": _any_port,
    "release_bake_seconds": _seconds,
    "release_canary_key": _header,
    "release_canary_percent": _optional_percent,
    "release_canary_steps": _canary_steps,
    "release_drain_timeout": _seconds,
    "release_lock_wait": _seconds,
    "release_min_nodes": _count,
    "release_ramp_seconds": _seconds,
    "release_shadow_percent": _percent,
    "release_watch_answers": _optional_percent,
    "release_watch_failure_points": _not_negative,
    "release_watch_min_requests": _count,
    "release_watch_p95_factor": _not_negative,
    "release_watch_p95_floor": _not_negative,
    "virtual_address_ip": _virtual_address,
}
"""The rules that the type of a setting can't express. All other settings are checked by type and choices alone."""

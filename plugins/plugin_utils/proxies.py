"""Runs on the controller: whether a Docker engine asks a proxy for the fleet's registry."""

from __future__ import annotations

import ipaddress
from typing import TypedDict


class EngineProxies(TypedDict, total=False):
    """What the engine tells of its proxies at /info."""

    HttpsProxy: str
    NoProxy: str


def engine_proxy(info: EngineProxies, registry: str) -> str:
    """Return the proxy that the engine asks for `registry`, ADDRESS:PORT; empty where it asks the registry itself.

    The rules are those of Go's package httpproxy, which reads NO_PROXY for the engine.
    """
    proxy = info.get("HttpsProxy") or ""
    host, _, port = registry.rpartition(":")
    if host == "localhost" or _is_loopback(host):
        return ""
    exceptions = (entry.strip().lower() for entry in (info.get("NoProxy") or "").split(","))
    return "" if any(_excepts(entry, host.lower(), port) for entry in exceptions if entry) else proxy


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _excepts(entry: str, host: str, port: str) -> bool:
    """Tell whether an entry of NO_PROXY, an address or a domain with or without a port, or a network, has the host."""
    if entry == "*":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, its_port = entry.partition(":")
    if colon and its_port != port:
        return False
    if address is not None:
        return name == host
    name = name.removeprefix("*")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")

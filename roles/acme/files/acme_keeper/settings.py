"""Runs in the keeper's container: what the inventory says, as plugin_utils/acme.py writes it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

PEERS_NAME = "acme.flotilla"
"""The name in the certificates that keepers show each other."""


class Account(TypedDict):
    """What binds an account to one that the CA knows already (RFC 8555, section 7.3.4)."""

    kid: str
    hmac_key: str


class Peer(TypedDict):
    """The keeper of another load balancer."""

    name: str
    address: str
    port: int


class Settings(TypedDict):
    """The content of settings.json."""

    balancer: str
    position: int
    """The load balancer's place in the inventory, from 0."""
    names: list[str]
    directory: str
    staging: str
    """The directory of the CA's test service, where the first order is tried; empty for none."""
    email: str
    external_account: NotRequired[Account]
    challenge: str
    """http-01 or dns-01."""
    attempt: int
    address: str
    port: int
    tls_port: int
    virtual_address: str
    peers: list[Peer]


@dataclass(frozen=True)
class Places:
    """The folders that the container mounts."""

    settings: Path = Path("/etc/flotilla")
    """Read-only: settings.json, roots.pem, dns_hook, and tls/ with what keepers show each other."""
    kept: Path = Path("/var/lib/flotilla/acme")
    """The keeper's own: the accounts, the certificate, and what became of orders."""
    nginx: Path = Path("/etc/nginx/acme")
    """What Nginx reads: frontend.pem, challenges/, and reload, which asks for a reload."""


def read_settings(places: Places) -> Settings:
    """Return the settings of this load balancer."""
    settings: Settings = json.loads((places.settings / "settings.json").read_text())
    return settings


def fingerprint(settings: Settings, places: Places) -> str:
    """Return what changes with whatever an order's success depends on: a failure is one of these settings alone."""
    hook = places.settings / "dns_hook"
    parts = [
        sorted(settings["names"]),
        [settings["directory"], settings["staging"], settings["email"], settings["challenge"]],
        [settings.get("external_account"), settings["attempt"]],
        hook.read_text() if hook.exists() else "",
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

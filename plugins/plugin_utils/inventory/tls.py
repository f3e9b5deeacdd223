"""Runs on the controller: checks the TLS settings of the load balancers, certificates and keys included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.hosts import Host
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.report import (
    HIDDEN,
    Report,
    Unreadable,
    listed,
)
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

CERTIFICATE = "nginx_lb_tls_certificate"

KEY = "nginx_lb_tls_key"

SECRETS = (CERTIFICATE, KEY, "acme_external_account", "acme_dns_hook", "acme_roots")
"""The settings whose values no message shows."""

FROM_FILE = "its text, or \"{{{{ lookup('file', inventory_dir ~ '/{}') }}}}\" for a file"

MODES_OF_SETTINGS: Mapping[str, Sequence[str]] = {
    CERTIFICATE: ("own",),
    KEY: ("own",),
    "nginx_lb_tls_names": ("internal", "own", "acme"),
    "nginx_lb_tls_hsts_seconds": ("own", "internal", "acme"),
    "acme_email": ("acme",),
    "acme_external_account": ("acme",),
    "acme_dns_hook": ("acme",),
    "acme_roots": ("acme",),
}
"""The values of nginx_lb_tls with which a setting has an effect."""


def tls_mode(balancer: Host) -> str:
    """Return own, internal or acme, the source of the certificate that a load balancer shows; empty without TLS."""
    value = balancer.variables.get("nginx_lb_tls")
    return value if value in ("own", "internal", "acme") else ""


def check_tls(balancers: Sequence[Host], report: Report) -> None:
    """Report TLS settings that differ between load balancers, have no effect, or don't fit together."""
    modes = {balancer.name: tls_mode(balancer) or "off" for balancer in balancers}
    if len(set(modes.values())) > 1:
        found = listed([f"{name} ({mode})" for name, mode in modes.items()])
        report.line(f"{found}: nginx_lb_tls is not the same on all: set it for the group load_balancers")
    for balancer in balancers:
        mode = modes[balancer.name]
        _check_effect(balancer, mode, report)
        if mode == "own":
            _check_pair(balancer, report)
        elif mode == "acme":
            _check_names(balancer, report)


def _check_names(balancer: Host, report: Report) -> None:
    """Check the names that a CA is to issue a certificate for."""
    names, hook = balancer.variables.get("nginx_lb_tls_names"), balancer.variables.get("acme_dns_hook")
    if isinstance(names, Unreadable) or isinstance(hook, Unreadable):
        return
    if not names:
        fix = "set the names that the CA is to issue a certificate for, because nginx_lb_tls is acme"
        report.value(balancer.name, "nginx_lb_tls_names", names, fix)
    elif not hook and any(str(name).startswith("*.") for name in cast("Sequence[object]", names)):
        fix = "a CA issues a certificate for a wildcard by DNS-01 alone: set acme_dns_hook, or single names"
        report.value(balancer.name, "nginx_lb_tls_names", names, fix)


def _check_effect(balancer: Host, mode: str, report: Report) -> None:
    for variable, modes in MODES_OF_SETTINGS.items():
        value = balancer.variables.get(variable)
        if mode in modes or value in (None, "", [], {}, 0, "0") or isinstance(value, Unreadable):
            continue
        fix = (
            f"this has no effect while nginx_lb_tls is {mode}: set nginx_lb_tls to {modes[0]}, or delete this"
        )
        report.value(balancer.name, variable, HIDDEN if variable in SECRETS else value, fix)


def _check_pair(balancer: Host, report: Report) -> None:
    """Check a certificate and its key. Nginx would refuse a wrong pair too, but later and in other words."""
    certificate, key = (balancer.variables.get(name) for name in (CERTIFICATE, KEY))
    if isinstance(certificate, Unreadable) or isinstance(key, Unreadable):
        return
    chain, private = _certificates(certificate), _private_key(key)
    if not chain:
        # The value may be the key, in the wrong place.
        fix = (
            f"set a certificate in PEM form, because nginx_lb_tls is own: {FROM_FILE.format('fullchain.pem')}"
        )
        report.value(balancer.name, CERTIFICATE, HIDDEN if certificate else certificate, fix)
    if isinstance(private, str):
        report.value(balancer.name, KEY, HIDDEN if key else key, private)
    elif chain and chain[0].public_key() != private.public_key():
        fix = f"this is not the key of {CERTIFICATE}: set the key with which the certificate was requested"
        if private.public_key() in [issuer.public_key() for issuer in chain]:
            fix = f"this is not the key of the first certificate in {CERTIFICATE}: put the server's certificate first"
        report.value(balancer.name, KEY, HIDDEN, fix)


def _certificates(value: object) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(value.encode()) if isinstance(value, str) else []
    except ValueError:
        return []


def _private_key(value: object) -> PrivateKeyTypes | str:
    """Return a private key, or how to fix a value that can't be read as one."""
    try:
        return load_pem_private_key(value.encode() if isinstance(value, str) else b"", None)
    except TypeError:
        return (
            "the key has a passphrase, which Nginx can't ask for: set the key without one, and encrypt the variable "
            "with ansible-vault"
        )
    except Exception:  # cryptography raises many kinds, and each means the same here
        return (
            f"set a private key in PEM form, because nginx_lb_tls is own: {FROM_FILE.format('privkey.pem')}"
        )

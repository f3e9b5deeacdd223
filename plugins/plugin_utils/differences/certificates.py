"""Runs on the controller: the certificates that machines are to have, against those that they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    days_left,
    is_issued_by,
    load_certificate,
    load_certificates,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import Issued, machine_certificates
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.files import file_difference
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import File, file_states
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import HostVars, setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import machine

CLIENTS_WARNED_DAYS = 30
"""How many days before its end the certificate that clients are shown is a difference, and runs begin to warn of it."""

ACME_WARNED_DAYS = 20
"""The same for one that is renewed by ACME from 30 days before its end."""

ACME_FRONTEND = "/etc/flotilla/nginx/acme/frontend.pem"
"""The certificate that a load balancer's keeper has given Nginx."""


def certificate_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the certificates and keys of the fleet that are missing, end soon, or are of another authority."""
    known = cast("Mapping[str, object]", fleet.fact("internal_ca_issued") or {})
    if "certificates" not in known:
        yield _not_compared(fleet, str(known.get("msg", "they were not issued")))
    else:
        issued = cast("Issued", known)
        wanted = machine_certificates(
            fleet.hostvars,
            fleet.groups,
            issued,
            *fleet.registries(),
        )
        for host in fleet.machines:
            yield from _of_machine(fleet, host, wanted[machine(fleet.hostvars, host)], issued)
    for host in fleet.members("load_balancers"):
        yield from _shown_to_clients(fleet, host)


def _not_compared(fleet: Fleet, reason: str) -> Difference:
    return {
        "host": fleet.present[0],
        "thing": "certificates",
        "wanted": "compared",
        "found": f"not looked at: {reason}",
        "mended_by": "",
        "change": "",
    }


def _of_machine(fleet: Fleet, host: str, files: Sequence[File], issued: Issued) -> Iterator[Difference]:
    """Yield the differences of the certificates on the machine of `host`."""
    found, renew_days = fleet.found(host), int(setting(fleet.hostvars, host, "internal_ca_renew_days"))
    for path, state in file_states(files).items():
        present = found["files"].get(path, "")
        if present == state:
            continue
        difference = file_difference(host, path, state, present)
        difference["thing"] = f"certificate {path}"
        difference["change"] = f"write the certificate {path}"
        if certificate := found["certificates"].get(path):
            difference["found"] = _in_words(certificate, issued, renew_days, difference["found"])
        yield difference


def _in_words(certificate: str, issued: Issued, renew_days: int, otherwise: str) -> str:
    """Return what is wrong with a certificate in PEM form; `otherwise` where it is sound, the fleet's, and lasts."""
    try:
        parsed = load_certificate(certificate.encode())
    except ValueError:
        return "damaged"
    trusted = [known for bundle in issued["authorities"].values() for known in load_certificates(bundle)]
    if not any(parsed == known or is_issued_by(parsed, known) for known in trusted):
        return "of another authority"
    days = days_left(parsed)
    return f"ends in {days} days" if days < renew_days else otherwise


def _shown_to_clients(fleet: Fleet, host: str) -> Iterator[Difference]:
    """Yield the certificate that a load balancer shows clients, where it ends soon."""
    shown = fleet.found(host)["certificate"]
    if not shown:
        return
    if setting(fleet.hostvars, host, "nginx_lb_tls") == "acme":
        yield from _by_acme(fleet, host, shown)
        return
    if told := soon_ending(shown, fleet.now):
        own = setting(fleet.hostvars, host, "nginx_lb_tls") == "own"
        yield {
            "host": host,
            "thing": "certificate that clients see",
            "wanted": f"valid for {CLIENTS_WARNED_DAYS} more days",
            "found": told,
            "mended_by": "a new nginx_lb_tls_certificate, and site.yml" if own else "site.yml",
            "change": "",
        }


def _by_acme(fleet: Fleet, host: str, shown: str) -> Iterator[Difference]:
    """Yield that a load balancer shows no certificate of the CA yet, another than it has, or one that ends soon."""
    kept, path = fleet.found(host).get("acme") or {}, ACME_FRONTEND
    had = fleet.found(host)["certificates"].get(path, shown)
    failed = kept.get("failed")
    if not kept.get("directory"):
        wanted, found = "issued by the CA", "that of the internal CA, as the CA has issued none yet"
    elif load_certificate(shown.encode()) != load_certificates(had)[0]:
        wanted, found, failed = f"the one in {path}", "another, as Nginx has not taken it", None
    elif told := ending_by_acme(shown, fleet.now):
        wanted, found = f"valid for {ACME_WARNED_DAYS} more days", told
    else:
        return
    yield {
        "host": host,
        "thing": "certificate that clients see",
        "wanted": wanted,
        "found": f"{found}; the last order failed: {failed['reason']}" if failed else found,
        "mended_by": "what the CA says, a higher acme_attempt, and site.yml" if failed else "",
        "change": "",
    }


def ending_by_acme(certificate: str, now: float) -> str:
    """Return when a certificate by ACME ends, in words; empty where that is as long ahead as it is to be.

    It is renewed when a third of its life is left, 30 of 90 days. Of one with a shorter life, fewer days are wanted.
    """
    parsed = load_certificate(certificate.encode())
    days = (parsed.not_valid_after_utc - parsed.not_valid_before_utc).days
    return soon_ending(certificate, now, min(ACME_WARNED_DAYS, days * 2 // 9))


def certificate_warnings(hostvars: HostVars, balancers: Sequence[str], now: float) -> list[str]:
    """Return a line for each certificate that a run gave the load balancers to show and that ends soon."""
    given: dict[str, list[str]] = {}
    ending: list[str] = []
    for name in balancers:
        variables = hostvars[name]
        if variables.get("nginx_lb_tls") == "own":
            given.setdefault(variables["nginx_lb_tls_certificate"], []).append(name)
        elif variables.get("nginx_lb_tls") == "acme":
            shown = variables.get("flotilla_machine", {}).get("certificate", "")
            if shown and (told := ending_by_acme(shown, now)):
                ending.append(
                    f"{name}: the certificate that clients see {told}: playbooks/status.yml says why"
                )
        elif variables.get("nginx_lb_tls") == "internal":
            issued = variables.get("internal_ca_issued", {}).get("certificates", {})
            given.setdefault(issued.get(f"frontend-{name}", {}).get("certificate", ""), []).append(name)
    return ending + [
        f"{', '.join(names)}: the certificate that clients see {told}: renew it, and run site.yml"
        for certificate, names in given.items()
        if certificate and (told := soon_ending(certificate, now))
    ]


def soon_ending(certificate: str, now: float, warned_days: int = CLIENTS_WARNED_DAYS) -> str:
    """Return when the certificate that clients are shown ends, in words; empty where that is long ahead."""
    end = load_certificate(certificate.encode()).not_valid_after_utc
    days = int((end.timestamp() - now) // 86400)
    if days >= warned_days:
        return ""
    when = f"ends in {days} day{'' if days == 1 else 's'}" if days >= 0 else "has ended"
    return f"{when} ({end:%Y-%m-%d %H:%M:%SZ})"

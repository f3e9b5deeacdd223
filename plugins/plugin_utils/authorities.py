"""Runs on the controller: whether the machines' certificates are those of this controller's authorities."""

from __future__ import annotations

import fnmatch
import pathlib
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.flotilla.fleet.plugins.module_utils.certificate_store import AUTHORITIES, OPTIONAL
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import fingerprint, identify
from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import (
    BALANCER_FOLDER,
    ENDPOINTS_FOLDER,
    EXPORTER_FOLDER,
    PAGE_FOLDER,
    PROMETHEUS_FOLDER,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import fleet_hosts

END = "-----END CERTIFICATE-----"
LOST = "-e internal_ca_lost=true"

TRUSTED = (
    f"{ENDPOINTS_FOLDER}/*/clients.crt",
    f"{BALANCER_FOLDER}/servers.crt",
    f"{BALANCER_FOLDER}/monitoring.crt",
    "/etc/flotilla/registry/fleet.crt",
    f"{EXPORTER_FOLDER}/clients.crt",
    f"{PROMETHEUS_FOLDER}/servers.crt",
    f"{PAGE_FOLDER}/clients.crt",
)
"""The files with the authorities that the services of a machine trust, as shell patterns."""


def _certificates(text: str) -> Iterator[str]:
    """Return the certificates in `text`, each in PEM form."""
    return (f"{part}{END}\n".lstrip() for part in text.split(END)[:-1])


@dataclass(frozen=True)
class Own:
    """The authorities that a controller's folder holds."""

    directory: pathlib.Path
    texts: tuple[str, ...]
    """Their certificates, in PEM form."""
    complete: bool
    """Whether each that a fleet must have can sign."""

    @property
    def name(self) -> str:
        """The fleet's name, which new authorities bear."""
        return self.directory.name


def read_own(directory: str) -> Own:
    """Return the authorities in the folder `directory`."""
    folder = pathlib.Path(directory).expanduser()
    files = [path for name in AUTHORITIES for path in sorted(folder.glob(f"{name}-*.crt"))]
    texts = [path.read_text(encoding="ascii", errors="replace") for path in files]
    keys = [any(folder.glob(f"{name}-*.key")) for name in AUTHORITIES if name not in OPTIONAL]
    return Own(folder, tuple(texts), all(keys))


def may_begin(hostvars: HostVars, groups: Groups) -> bool:
    """Tell whether every machine of the inventory was inspected and has no certificates of a fleet."""
    return all(
        _inspected(hostvars, host) and not _holds_certificates(hostvars, host) for host in fleet_hosts(groups)
    )


def refusal(hostvars: HostVars, groups: Groups, directory: str, *, limited: bool, elsewhere: str = "") -> str:
    """Return why the run must not issue certificates, in a sentence; empty where it may.

    An authority is begun only where no machine of the inventory can have certificates of another one, and no machine
    loses those of an authority that this controller does not have. `elsewhere` are the authorities that the first load
    balancer trusts, where the run is about no load balancer.
    """
    own = read_own(directory)
    inspected = [host for host in fleet_hosts(groups) if _inspected(hostvars, host)]
    for host in inspected:
        if (foreign := _foreign(_found(hostvars, host), own)) is not None:
            return _another(host, foreign, own)
    if (foreign := _foreign([elsewhere], own)) is not None:
        return _another(groups["load_balancers"][0], foreign, own)
    if own.complete:
        return ""
    for host in inspected:
        if _holds_certificates(hostvars, host):
            return _another(host, "", own)
    if limited:
        return (
            f"{own.directory} holds no certificate authority, and a run with --limit begins none, because it does not"
            " look at every machine: copy the folder from the controller that has it, or, if the fleet is new, run"
            " site.yml without --limit"
        )
    for host in fleet_hosts(groups):
        if host not in inspected:
            return (
                f"{host}: could not be inspected, so it may have certificates of an authority, and {own.directory}"
                " holds none: copy the folder from the controller that has it, or, if the fleet is new, make"
                f" {host} reachable or take it out of the inventory; {LOST} begins an authority all the same"
            )
    return ""


def backup_refusal(hostvars: HostVars, groups: Groups, directory: str) -> str:
    """Return why the authorities in `directory`, a backup's, are not those of the machines; empty where they may be."""
    own = read_own(directory)
    for host in fleet_hosts(groups):
        if _inspected(hostvars, host) and (foreign := _foreign(_found(hostvars, host), own)) is not None:
            return (
                f"{host}: has certificates of {identify(foreign).described}, and {own.directory} holds authorities that"
                " have nothing to do with it: restore the backup of that fleet, or take"
                f" {host} out of this inventory"
            )
    return ""


def _inspected(hostvars: HostVars, host: str) -> bool:
    return "files" in hostvars[host].get("flotilla_machine", {})


def _found(hostvars: HostVars, host: str) -> list[str]:
    """Return the certificates of each file of trusted authorities on the machine of `host`."""
    files: Mapping[str, str] = hostvars[host]["flotilla_machine"].get("certificates", {})
    return [text for path, text in files.items() if any(fnmatch.fnmatchcase(path, each) for each in TRUSTED)]


def _holds_certificates(hostvars: HostVars, host: str) -> bool:
    """Tell whether the inspection found a certificate of an endpoint or a load balancer on the machine of `host`."""
    folders = (f"{ENDPOINTS_FOLDER}/", f"{BALANCER_FOLDER}/")
    return any(path.startswith(folders) for path in hostvars[host]["flotilla_machine"]["files"])


def _foreign(texts: Iterable[str], own: Own) -> str | None:
    """Return the first certificate in `texts` of an authority that has nothing to do with those of `own`.

    A text that holds one of the own authorities' certificates is that of this fleet. So is an earlier authority, which
    the own ones have replaced.
    """
    known = {_fingerprint(certificate) for text in own.texts for certificate in _certificates(text)}
    strange = [
        certificates
        for text in texts
        if (certificates := list(_certificates(text))) and known.isdisjoint(map(_fingerprint, certificates))
    ]
    if not strange:
        return None
    lineages = {identify(certificate).lineage for text in own.texts for certificate in _certificates(text)}
    for certificates in strange:
        found = {identify(certificate).lineage for certificate in certificates} - {""}
        if found and found.isdisjoint(
            lineages
        ):  # a damaged file, of no lineage, is replaced as any damaged file
            return certificates[0]
    return None


def _fingerprint(certificate: str) -> str:
    try:
        return fingerprint(ssl.PEM_cert_to_DER_cert(certificate))
    except ValueError:
        return ""


def _another(host: str, certificate: str, own: Own) -> str:
    """Return what to do about `host`, which trusts the authority of `certificate` (empty if that is unknown)."""
    whose = identify(certificate).described if certificate else "an authority"
    if own.complete:
        return (
            f"{host}: has certificates of {whose}, and not of this inventory's fleet, “{own.name}”, whose"
            f" authority is in {own.directory}. If they are one fleet, copy that authority's folder to"
            f" {own.directory}; if another fleet lives on this machine, take {host} out of this inventory, or remove"
            f" that fleet with its down.yml; {LOST} replaces the certificates all the same, and requests fail until"
            " that run is over"
        )
    return (
        f"{host}: has certificates of {whose}, and {own.directory} holds no authority of this inventory's fleet,"
        f" “{own.name}”. If they are one fleet, copy this folder from the controller that has it; if another fleet"
        f" lives on this machine, take {host} out of this inventory, or remove that fleet with its down.yml. If the"
        f" authority is lost, {LOST} makes a new one, and requests fail until that run is over"
    )

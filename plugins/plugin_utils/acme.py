"""Runs on the controller: what the keeper of certificates by ACME is given on a load balancer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import ACME_USER
from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import File
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars, setting
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import (
    ACME_CONTAINER,
    host_address,
    virtual_address,
)

FOLDER = "/etc/flotilla/acme"
SOURCES = Path(__file__).parents[2] / "roles" / "acme" / "files"

STAGING: Mapping[str, str] = {
    "https://acme-v02.api.letsencrypt.org/directory": "https://acme-staging-v02.api.letsencrypt.org/directory"
}
"""The directory of a CA's test service, by that of the CA."""


def keeper_hosts(hostvars: HostVars, groups: Groups) -> list[str]:
    """Return the load balancers that order certificates by ACME, and those that did until now."""
    return [
        balancer
        for balancer in groups.get("load_balancers", ())
        if setting(hostvars, balancer, "nginx_lb_tls") == "acme"
        or ACME_CONTAINER in hostvars[balancer].get("flotilla_machine", {}).get("containers", {})
    ]


def keeper_files(hostvars: HostVars, groups: Groups, host: str) -> list[File]:
    """Return the files of the keeper on `host`: its program, its settings, the user's hook and roots."""
    files: list[File] = [
        {"path": f"{FOLDER}/{path.relative_to(SOURCES)}", "content": path.read_text(encoding="utf-8")}
        for path in sorted(SOURCES.glob("**/*.py"))
    ]
    content = json.dumps(keeper_settings(hostvars, groups, host), indent=1, sort_keys=True)
    files.append(
        {"path": f"{FOLDER}/settings.json", "content": content + "\n", "mode": "0400", "owner": ACME_USER}
    )
    if hook := setting(hostvars, host, "acme_dns_hook"):
        files.append({"path": f"{FOLDER}/dns_hook", "content": hook, "mode": "0500", "owner": ACME_USER})
    if roots := setting(hostvars, host, "acme_roots"):
        files.append({"path": f"{FOLDER}/roots.pem", "content": roots})
    return files


def keeper_settings(hostvars: HostVars, groups: Groups, host: str) -> dict[str, Any]:
    """Return the settings of the keeper on `host`, as roles/acme/files/acme_keeper/settings.py describes them."""
    balancers = list(groups["load_balancers"])
    directory = str(setting(hostvars, host, "acme_directory_url"))
    found = {
        "balancer": host,
        "position": balancers.index(host),
        "names": list(setting(hostvars, host, "nginx_lb_tls_names")),
        "directory": directory,
        "staging": setting(hostvars, host, "acme_staging_url") or STAGING.get(directory, ""),
        "email": setting(hostvars, host, "acme_email"),
        "challenge": "dns-01" if setting(hostvars, host, "acme_dns_hook") else "http-01",
        "attempt": setting(hostvars, host, "acme_attempt"),
        "tls_port": setting(hostvars, host, "nginx_lb_tls_port"),
        "virtual_address": virtual_address(hostvars, groups),
        "peers": [_listener(hostvars, peer) for peer in balancers if peer != host],
    }
    listener = _listener(hostvars, host)
    found |= {"address": listener["address"], "port": listener["port"]}
    if account := setting(hostvars, host, "acme_external_account"):
        found["external_account"] = dict(account)
    return found


def _listener(hostvars: HostVars, host: str) -> dict[str, Any]:
    """Return where the keeper of `host` answers the others."""
    address = host_address(hostvars, host, "nginx_lb_address")
    return {"name": host, "address": address, "port": setting(hostvars, host, "acme_port")}

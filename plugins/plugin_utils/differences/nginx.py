"""Runs on the controller: the state and the configuration that load balancers are to have, against what they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.flotilla.fleet.plugins.module_utils.machine_files import STATE_FILE, STATE_MODE
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.files import file_difference
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference, Fleet

CONFIGURATION_FILE = "/etc/flotilla/nginx/nginx.conf"


def nginx_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the load balancers that have another state than the newest, or serve another configuration."""
    state = fleet.state
    if state is None or state["live"] is None:
        return
    for host in fleet.members("load_balancers"):
        own: Mapping[str, Any] = fleet.hostvars[host]["flotilla_machine"].get("state") or {}
        if own.get("serial") != state["serial"]:
            yield {
                "host": host,
                "thing": "state of the fleet",
                "wanted": f"number {state['serial']}",
                "found": f"number {own['serial']}" if own else "missing",
                "mended_by": SITE,
                "change": "write the state of the fleet",
            }
        yield from _state_file(fleet, host)
        yield from _configuration(fleet, host)


def _state_file(fleet: Fleet, host: str) -> Iterator[Difference]:
    """Yield that others than root may read or write a load balancer's state. Its content is compared as the state."""
    found = fleet.found(host)["files"].get(str(STATE_FILE), "")
    wanted = f"{found.partition(':')[0]}:{STATE_MODE:04o}:0"
    if found and found != wanted:
        yield file_difference(host, str(STATE_FILE), wanted, found)


def _configuration(fleet: Fleet, host: str) -> Iterator[Difference]:
    """Yield the configuration of a load balancer, where Nginx serves another or the file is not as it was written."""
    found = fleet.found(host)
    written = found["files"].get(CONFIGURATION_FILE, "")
    for wanted in fleet.wanted(host):
        if "serves" not in wanted or (found["served"], written) == (
            wanted["serves"],
            wanted["configuration"],
        ):
            continue
        if found["served"] == wanted["serves"]:
            changed = file_difference(host, CONFIGURATION_FILE, wanted["configuration"], written)
            yield {**changed, "thing": "configuration of Nginx"}
            continue
        yield {
            "host": host,
            "thing": "configuration of Nginx",
            "wanted": f"serves {wanted['serves']}",
            "found": f"serves {found['served'] or 'nothing'}",
            "mended_by": SITE,
            "change": "reload Nginx",
        }

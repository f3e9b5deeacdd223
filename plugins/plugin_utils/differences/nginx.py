"""Runs on the controller: the state and the configuration that load balancers are to have, against what they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference, Fleet


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
        serves = next((wanted["serves"] for wanted in fleet.wanted(host) if "serves" in wanted), None)
        served = fleet.found(host)["served"]
        if serves is not None and served != serves:
            yield {
                "host": host,
                "thing": "configuration of Nginx",
                "wanted": f"serves {serves}",
                "found": f"serves {served}" if served else "no answer",
                "mended_by": SITE,
                "change": "reload Nginx",
            }

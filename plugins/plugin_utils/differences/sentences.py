"""Runs on the controller: what a run in check mode would do, in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import cast

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Difference
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import Plan
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import container_name, other_slot

NO_CHANGE = "nothing would change"

OF_A_KIND = re.compile(r"(?P<verb>\w+) the (?P<kind>\w+) .+")
"""A change of which a host may have several, such as "write the certificate /etc/…"."""


def check_step(hostvars: HostVars, groups: Groups, present: Sequence[str]) -> list[str]:
    """Return what the run would do, of the hosts that are present."""
    facts = hostvars[present[0]]
    found = cast("Sequence[Difference]", facts.get("flotilla_differences", ()))
    return sentences(cast("Plan", facts["release_plan"]), groups["model_nodes"], found)


def sentences(plan: Plan, nodes: Sequence[str], differences: Iterable[Difference]) -> list[str]:
    """Return what a run with this plan would do about these differences; one sentence where that is nothing.

    A release takes the place of the live containers, whatever they differ in.
    """
    replaced = {f"container {container_name(node, other_slot(plan['target_slot']))}" for node in nodes}
    changes: dict[str, list[str]] = {}
    for difference in differences:
        if difference["change"] and not (plan["target"] and difference["thing"] in replaced):
            changes.setdefault(difference["host"], []).append(difference["change"])
    hosts: dict[str, list[str]] = {}
    for host, own in changes.items():
        hosts.setdefault(", ".join(_counted(own)), []).append(host)
    lines = [_release(plan, nodes)] if plan["target"] else []
    lines += [f"{', '.join(names)}: would {change}" for change, names in hosts.items()]
    return lines or [NO_CHANGE]


def _release(plan: Plan, nodes: Sequence[str]) -> str:
    """Return the sentence about the release that the plan makes live, or gives a share."""
    assert plan["target"] is not None
    first = plan["steps"][0]["percent"] if plan["steps"] else 100
    gets = "all requests" if first >= 100 else f"{first:g} % of the requests" if first else "no request"
    copies = f" and copies of {plan['shadow']:g} %, as a shadow" if plan["shadow"] and first < 100 else ""
    return (
        f"release {plan['target']['id']} would be started on {', '.join(nodes)} in the {plan['target_slot']} "
        f"slots and get {gets}{copies}"
    )


def _counted(changes: Sequence[str]) -> list[str]:
    """Return the changes of a host, several of one kind as their number: "write 3 certificates"."""
    kinds: dict[str, list[str]] = {}
    for change in dict.fromkeys(changes):
        found = OF_A_KIND.fullmatch(change)
        kinds.setdefault(f"{found['verb']} {{}} {found['kind']}s" if found else change, []).append(change)
    return [own[0] if len(own) == 1 else several.format(len(own)) for several, own in kinds.items()]

"""Runs on the controller: whether a run holds the deploy lock, and lives."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.module_utils.lock_owner import describe
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference, Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.lock_keeper import SILENT_SECONDS, WATCH_SECONDS

DEAD_SECONDS = SILENT_SECONDS + WATCH_SECONDS
"""After so long without a sign of life, the next run takes the lock over, unless a sign comes while it watches."""


def lock_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the load balancers whose deploy lock a run holds, with that run and whether it lives."""
    for host in fleet.members("load_balancers"):
        found = fleet.found(host)
        if holder := found["lock"]:
            told, mended_by, change = _run_in_words(found["lock_silent"])
            yield {
                "host": host,
                "thing": "deploy lock",
                "wanted": "free",
                "found": f"held by a run {told}: {describe(holder)}",
                "mended_by": mended_by,
                "change": change,
            }


def _run_in_words(silent: float | None) -> tuple[str, str, str]:
    """Return what is known of a lock's run, what to run, and what that does; `silent` as in FoundMachine."""
    if silent is None:
        return "that gives no signs of life", "playbooks/unlock.yml, if that run is gone", ""
    if silent < DEAD_SECONDS:
        return f"whose last sign of life is {silent:.0f} s old", "", ""
    told = f"that is dead or cut off, {silent:.0f} s without a sign of life"
    return told, SITE, "take over the deploy lock"

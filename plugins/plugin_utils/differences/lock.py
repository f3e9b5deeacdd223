"""Runs on the controller: whether a run holds the deploy lock."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Difference, Fleet


def lock_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the load balancers whose deploy lock a run holds, with that run."""
    for host in fleet.members("load_balancers"):
        if holder := fleet.found(host)["lock"]:
            yield {
                "host": host,
                "thing": "deploy lock",
                "wanted": "free",
                "found": "held by {user}@{controller}, {playbook}, since {time}".format(
                    **{"controller": "?", "playbook": "?", "time": "?", **holder}
                ),
                "mended_by": "playbooks/unlock.yml, if that run is gone",
                "change": "",
            }

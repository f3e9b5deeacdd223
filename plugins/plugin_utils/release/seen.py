"""Runs on the controller: what a run has seen of the load balancers' state, read from the results of its tasks.

So the verdict of a run that ends early can name the release that is live, and says nothing of what nobody looked at.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.flotilla.fleet.plugins.module_utils.machine_files import STATE_FILE


@dataclass(frozen=True)
class Seen:
    """What is live, and which nodes get no requests."""

    live: str
    """The id of the live release; empty where nothing is live."""
    drained: tuple[str, ...] = ()
    down: tuple[str, ...] = ()


class Knowledge:
    """What a run knows by now. `seen` is None where no load balancer was looked at, or where its traffic may differ."""

    def __init__(self) -> None:
        self.seen: Seen | None = None
        self._serial = -1
        self._looked = True

    def learn(self, result: Mapping[str, object]) -> None:
        """Take in the result of a task that was successful."""
        facts = result.get("ansible_facts")
        if isinstance(facts, Mapping):
            self._learn_facts(facts)
        elif isinstance(state := result.get("state"), Mapping) and "served" in result:
            self._learn_found(state)
        elif result.get("source") == str(STATE_FILE):
            self._learn_found(_parsed(str(result.get("content", ""))))

    def _learn_found(self, state: Mapping[str, object]) -> None:
        """Take in a state that a load balancer holds. Of several, the one that was written last counts."""
        serial = state.get("serial")
        if isinstance(serial, int) and serial > self._serial:
            self._serial, self.seen = serial, _seen(state)

    def _learn_facts(self, facts: Mapping[str, object]) -> None:
        """Take in facts of the run: its state, or the state that the load balancers are about to be given."""
        self._looked = bool(facts.get("release_looked", self._looked))
        state, coming = facts.get("release_state"), facts.get("__release_next")
        if isinstance(state, Mapping) and self._looked:
            self.seen = _seen(state)
        elif isinstance(coming, Mapping) and self.seen and _seen(coming).live != self.seen.live:
            # Until the load balancers have taken it, either may be live.
            self.seen = None


def _parsed(content: str) -> Mapping[str, object]:
    """Return the state in a file's content as module slurp returns it; nothing where that is no state."""
    try:
        state: object = json.loads(base64.b64decode(content))
    except ValueError:
        return {}
    return state if isinstance(state, Mapping) else {}


def _seen(state: Mapping[str, object]) -> Seen:
    live, nodes, drained = state.get("live"), state.get("nodes"), state.get("drained")
    entries = nodes if isinstance(nodes, Mapping) else {}
    return Seen(
        live=str(live["id"]) if isinstance(live, Mapping) else "",
        drained=tuple(map(str, drained)) if isinstance(drained, list) else (),
        down=tuple(str(name) for name, entry in entries.items() if entry.get("status") == "down"),
    )

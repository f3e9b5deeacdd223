"""Runs on the controller: who is told of which alerts, in the form of Alertmanager's configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

SEVERITIES = ("critical", "warning", "none")
DEFAULT_SEVERITIES = ("critical", "warning")
NOBODY = "nobody"
"""The receiver of alerts that no other takes."""

OURS = "severities"
"""The key of a receiver that Alertmanager does not know."""

Receiver = Mapping[str, object]


# The key `continue` is a word of Python.
Route = TypedDict(
    "Route",
    {
        "receiver": str,
        "matchers": list[str],
        "continue": bool,
        "group_interval": NotRequired[str],
        "repeat_interval": NotRequired[str],
    },
)
"""A route of Alertmanager's."""


def alert_routes(receivers: Sequence[Receiver]) -> list[Route]:
    """Return a route to each receiver for the severities that it takes."""
    routes: list[Route] = []
    for receiver in receivers:
        chosen = _severities(receiver)
        alerts = [severity for severity in chosen if severity != "none"]
        if alerts:
            routes.append(
                {
                    "receiver": str(receiver["name"]),
                    "matchers": [f'severity =~ "{"|".join(alerts)}"'],
                    "continue": True,
                }
            )
        if "none" in chosen:
            # The watchdog: a service that hears nothing for some minutes raises the alarm.
            routes.append(
                {
                    "receiver": str(receiver["name"]),
                    "matchers": ["severity = none"],
                    "continue": True,
                    "group_interval": "1m",
                    "repeat_interval": "1m",
                }
            )
    return routes


def alert_receivers(receivers: Sequence[Receiver]) -> list[dict[str, object]]:
    """Return the receivers in Alertmanager's form, with one that tells nobody."""
    known = [{key: value for key, value in receiver.items() if key != OURS} for receiver in receivers]
    return [{"name": NOBODY}, *known]


def receivers_fix(value: object) -> str | None:
    """Return how to fix receivers, in words that contain nothing of them but a name."""
    form = (
        "set a list of Alertmanager's receivers, such as [{name: on-call, severities: [critical], "
        "webhook_configs: [{url: …}]}]"
    )
    if not isinstance(value, (list, tuple)):
        return form
    names: set[str] = set()
    for position, receiver in enumerate(value, 1):
        if not isinstance(receiver, Mapping):
            return form
        name = receiver.get("name")
        if not isinstance(name, str) or not name or name == NOBODY:
            return f"receiver {position} has no name of its own: give it one, other than {NOBODY}"
        if name in names:
            return f"two receivers have the name {name}: give each a name of its own"
        names.add(name)
        if fix := _receiver_fix(receiver):
            return f"receiver {name} {fix}"
    return None


def _receiver_fix(receiver: Receiver) -> str | None:
    chosen = receiver.get(OURS, DEFAULT_SEVERITIES)
    if not isinstance(chosen, (list, tuple)) or not chosen or not set(map(str, chosen)) <= set(SEVERITIES):
        return f"has other {OURS} than there are: set some of {', '.join(SEVERITIES)}"
    ways = [key for key in receiver if str(key).endswith("_configs")]
    if not ways:
        return "says no way to tell it: set webhook_configs, email_configs, slack_configs or another of Alertmanager's"
    if unknown := sorted(set(map(str, receiver)) - {"name", OURS, *map(str, ways)}):
        return f"has the key {unknown[0]}, which Alertmanager does not know: remove it"
    return None


def _severities(receiver: Receiver) -> tuple[str, ...]:
    chosen = receiver.get(OURS, DEFAULT_SEVERITIES)
    return tuple(map(str, chosen)) if isinstance(chosen, (list, tuple)) else DEFAULT_SEVERITIES

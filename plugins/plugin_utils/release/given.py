"""Runs on the controller: the settings that were given by -e, and what a run without them undoes.

A setting of the command line holds for one run, and what it brought about lasts: a release, a canary, a
configuration of Nginx. The next run goes by the inventory alone, so it says beforehand which of these it takes back,
and whose they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from ansible.parsing.dataloader import DataLoader
from ansible.utils.vars import load_extra_vars
from ansible_collections.flotilla.fleet.plugins.plugin_utils.operator import operator
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    Given,
    HostVars,
    Plan,
    Release,
    State,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import SPECS

TRIAL = frozenset({"release_canary_percent", "release_canary_steps", "release_shadow_percent"})
"""Settings of role release that last while a candidate is under way. The role's others concern the run alone."""

OF_TRAFFIC = frozenset({"model_endpoint_weight", "model_endpoint_state"})
"""Settings of the endpoints that are no part of a release."""

LONGEST_VALUE = 60


def given_settings(now: float) -> dict[str, Given]:
    """Return the settings that this run was given by -e and that last, by name."""
    return lasting_settings(load_extra_vars(DataLoader()), operator(), now)


def lasting_settings(extra: Mapping[str, object], by: str, now: float) -> dict[str, Given]:
    """Return which of the variables `extra` are settings that last, as given by `by`."""
    time = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    found: dict[str, Given] = {}
    for role, options in SPECS.items():
        for name, option in options.items():
            if name in extra and (role != "release" or name in TRIAL):
                value = extra[name]
                shown = isinstance(value, (str, int, float)) and not option.get("no_log")
                text = str(value) if shown and len(str(value)) <= LONGEST_VALUE else ""
                found[name] = {"value": text, "by": by, "time": time}
    return found


def remember(plan: Plan, given: Mapping[str, Given]) -> None:
    """Note in the plan's states which settings were given by -e: with the release they made, or with the state."""
    if plan["error"]:
        return
    if plan["target"] and plan["operation"] == "deploy":
        of_release = {name: entry for name, entry in given.items() if _makes_release(name)}
        _note(plan["target"], of_release)
    _note(plan["baseline"], {name: entry for name, entry in given.items() if not _makes_release(name)})


def undone(plan: Plan, given: Mapping[str, Given], hostvars: HostVars) -> list[str]:
    """Return a line for each setting of an earlier run's -e whose effect this run takes back."""
    state, before = plan["state"], dict(plan["state"].get("given", {}))
    live, candidate = state["live"], state["candidate"]
    if plan["operation"] == "deploy" and plan["target"] and live:
        before |= {name: entry for name, entry in live.get("given", {}).items() if name not in TRIAL}
    if plan["operation"] == "deploy" and candidate and not plan["baseline"]["candidate"]:
        before |= candidate["release"].get("given", {})
    return [
        f"{name} was given with -e{_shown(entry)} by {entry['by']} at {entry['time']}, and this run, which has no such "
        "-e, undoes that: set it in the inventory, or give it again, to keep it"
        for name, entry in before.items()
        if name not in given and not plan["error"] and not _still_set(hostvars, name, entry)
    ]


def _makes_release(name: str) -> bool:
    return name in TRIAL or (name.startswith(("model_endpoint_", "model_image_")) and name not in OF_TRAFFIC)


def _note(place: Release | State, given: Mapping[str, Given]) -> None:
    """Keep `given` in a release or a state.

    Who gave a value first stays, so that a run with the same -e changes nothing.
    """
    before = place.get("given", {})
    kept = {
        name: before[name] if name in before and before[name]["value"] == entry["value"] else entry
        for name, entry in given.items()
    }
    if kept:
        place["given"] = kept
    else:
        place.pop("given", None)


def _shown(entry: Given) -> str:
    return f" ({entry['value']})" if entry["value"] else ""


def _still_set(hostvars: HostVars, name: str, entry: Given) -> bool:
    """Tell whether the inventory has the setting now, with this value if that is known."""
    values = [variables[name] for variables in hostvars.values() if name in variables]  # type: ignore[literal-required]
    return any(not entry["value"] or str(value) == entry["value"] for value in values)

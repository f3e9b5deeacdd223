"""Runs on the controller: which images get newer packages of Debian, and what the user is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict

MADE_OF = (
    "registry_made_of",
    "model_image_made_of",
    "nginx_lb_made_of",
    "virtual_address_made_of",
    "acme_made_of",
    "node_exporter_made_of",
    "monitoring_made_of",
    "fleet_page_made_of",
)
"""The facts by which the entry points `made_of` of roles tell what their images are made of."""


class Look(TypedDict):
    """What module debian_packages found of an image."""

    image: str
    recorded: bool
    """Whether the versions of its packages are known."""
    newer: Mapping[str, Sequence[str]]
    """The packages that Debian has in newer versions, from the image's version to Debian's."""


def image_recipes(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what the images are made of, for module debian_packages, from the builder's variables."""
    return [
        {
            "image": fact["image"],
            "suite": fact["recipe"]["suite"],
            "packages": list(fact["recipe"]["packages"]),
        }
        for name in MADE_OF
        if (fact := facts.get(name))
    ]


def updates(looked: Sequence[Look], now: float) -> dict[str, str]:
    """Return the images that are to be made anew, by repository, each with the time of which its packages are then."""
    time = datetime.fromtimestamp(int(now), UTC).isoformat()
    return {look["image"].partition(":")[0]: time for look in looked if _is_old(look)}


def update_lines(looked: Sequence[Look]) -> list[str]:
    """Return for the user what is made anew, and why."""
    lines = [f"{look['image']} is made anew: {_reason(look)}" for look in looked if _is_old(look)]
    return lines or [f"Debian has no newer packages for any of {len(looked)} images"]


def _is_old(look: Look) -> bool:
    return bool(look["newer"]) or not look["recorded"]


def _reason(look: Look) -> str:
    if not look["recorded"]:
        return "an earlier version of Flotilla made it, and kept no record of its packages"
    changes = (
        f"{name} {debian} for {own}" if own else f"{name} {debian}"
        for name, (own, debian) in look["newer"].items()
    )
    return f"Debian has {', '.join(changes)}"

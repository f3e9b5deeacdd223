"""Runs on the controller: the files that hosts are to have, against those that they have."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import SITE, Difference, Fleet


def file_differences(fleet: Fleet) -> Iterator[Difference]:
    """Yield the files of Nginx, the registry and keepalived that are missing or differ in content, mode or owner."""
    for host in fleet.present:
        present = fleet.found(host)["files"]
        for wanted in fleet.wanted(host):
            for path, state in wanted["files"].items():
                if present.get(path) != state:
                    yield file_difference(host, path, state, present.get(path, ""))


def file_difference(host: str, path: str, wanted: str, found: str) -> Difference:
    """Return the difference of a file, from its states (see module_utils/file_state.py)."""
    as_wanted, as_found = _in_words(wanted, found)
    return {
        "host": host,
        "thing": f"file {path}",
        "wanted": as_wanted,
        "found": as_found,
        "mended_by": SITE,
        "change": f"write the file {path}",
    }


def _in_words(wanted: str, found: str) -> tuple[str, str]:
    """Return what is wanted and what was found of a file, as far as the two differ."""
    if not found:
        return "a file", "missing"
    pairs = zip(("content", "mode", "owner"), wanted.split(":"), found.split(":"), strict=True)
    differing = [(name, one, other) for name, one, other in pairs if one != other]
    return (
        ", ".join(f"{name} {one[:12]}" for name, one, _ in differing),
        ", ".join(f"{name} {other[:12]}" for name, _, other in differing),
    )

"""Runs on the image builder: what the builder knows of each image of Debian packages, beside its tarball."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping
from typing import TypedDict

from ansible_collections.flotilla.fleet.plugins.module_utils.atomic_write import write_file

IMAGES_FOLDER = pathlib.Path("/var/cache/flotilla")
"""Where the builder keeps the images' tarballs and records."""


TAG = re.compile(r"[0-9a-f]{12}")


class ImageRecord(TypedDict):
    """What is known of an image."""

    made: float
    """When it was made, in seconds since the epoch."""
    packages: dict[str, str]
    """The versions of its packages by name; empty where an earlier version of Flotilla made it, which kept none."""
    looked: float
    """When Debian was last asked for newer packages; 0 where it never was."""
    newer: dict[str, str]
    """The versions that Debian had then, of packages that were newer than the image's or new among them."""


class FoundImage(TypedDict):
    """What module machine_state tells of an image: its record without the many packages."""

    made: float
    recorded: bool
    """Whether the versions of its packages are known."""
    looked: float
    newer: list[str]


def tarball_of(folder: pathlib.Path, image: str) -> pathlib.Path:
    """Return the tarball of an image, REPOSITORY:TAG."""
    return folder / f"{image.replace('/', '-').replace(':', '-')}.tar"


def record_of(folder: pathlib.Path, image: str) -> ImageRecord | None:
    """Return what is known of an image, None where it was not made here."""
    return _record(tarball_of(folder, image))


def _record(tarball: pathlib.Path) -> ImageRecord | None:
    try:
        found = json.loads(tarball.with_suffix(".json").read_text())
        return {
            "made": float(found["made"]),
            "packages": dict(found["packages"]),
            "looked": float(found["looked"]),
            "newer": dict(found["newer"]),
        }
    except (OSError, ValueError, TypeError, KeyError):
        if not tarball.exists():
            return None
        # Made by an earlier version of Flotilla.
        return {"made": tarball.stat().st_mtime, "packages": {}, "looked": 0, "newer": {}}


def replaced_tags(folder: pathlib.Path, image: str, keep: int) -> list[str]:
    """Return the tags of an image's repository other than its own and the newest ones, of which `keep` stay in all."""
    own = tarball_of(folder, image)
    repository = own.stem.rpartition("-")[0]
    others = {
        path.stem.rpartition("-")[2]: _record(path)
        for path in folder.glob(f"{repository}-*.tar")
        if TAG.fullmatch(path.stem.removeprefix(f"{repository}-")) and path != own
    }
    by_age = sorted(others, key=lambda tag: (others[tag] or {"made": 0.0})["made"], reverse=True)
    return by_age[keep - 1 :]


def write_record(folder: pathlib.Path, image: str, record: ImageRecord) -> None:
    """Keep what is known of an image.

    Raises:
        OSError: when it can't be written.
    """
    write_file(tarball_of(folder, image).with_suffix(".json"), json.dumps(record, sort_keys=True) + "\n")


def found_images(folder: pathlib.Path = IMAGES_FOLDER) -> Mapping[str, FoundImage]:
    """Return what module machine_state tells of the images that were made here, by the stems of their files' names."""
    found: dict[str, FoundImage] = {}
    for tarball in sorted({path.with_suffix(".tar") for path in folder.glob("flotilla-*.*")}):
        if record := _record(tarball):
            found[tarball.stem] = {
                "made": record["made"],
                "recorded": bool(record["packages"]),
                "looked": record["looked"],
                "newer": sorted(record["newer"]),
            }
    return found

"""Runs on hosts: reads what a machine has in files and on disks, for modules machine_state and image_space."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.flotilla.fleet.plugins.module_utils.file_state import present_state

STATE_FILE = pathlib.Path("/var/lib/flotilla/state.json")
ACME_STATE = pathlib.Path("/var/lib/flotilla/acme/state.json")
REGISTRY_FOLDER = pathlib.Path("/var/lib/flotilla/registry")
STATE_MODE = 0o600
"""The state may have settings that are nobody's business, and root alone reads it."""

OS_RELEASE = pathlib.Path("/etc/os-release")
CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
CERTIFICATE_FILES = {".cert", ".crt", ".pem"}
STATE_FIX = "copy it from another load balancer, or remove it to have the next run write it again"


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    if folder.is_file():
        yield folder
    for path, _, names in os.walk(folder):
        yield from (pathlib.Path(path, name) for name in names)


def file_states(folders: Sequence[str]) -> dict[str, str]:
    """Return SHA-256, mode and owner ("5f70…:0644:0") of each regular file in `folders`, by path."""
    paths = [path for folder in folders for path in _files(pathlib.Path(folder))]
    states = {str(path): present_state(path) for path in paths}
    return {path: state for path, state in states.items() if state}


def file_certificates(paths: Iterable[str]) -> dict[str, str]:
    """Return the certificates of each of the files `paths` that has any, in PEM form, by path."""
    found = {}
    for path in map(pathlib.Path, paths):
        if path.suffix in CERTIFICATE_FILES:
            with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                if certificates := CERTIFICATE.findall(path.read_bytes()):
                    found[str(path)] = "".join(f"{part.decode(errors='replace')}\n" for part in certificates)
    return found


def link_targets(links: Sequence[str]) -> dict[str, str]:
    """Return where those of `links` that are symbolic links point, by path."""
    return {link: str(pathlib.Path(link).readlink()) for link in links if pathlib.Path(link).is_symlink()}


class Disk(NamedTuple):
    """A file system: its number, the bytes that are free for programs that are not root's, and those in all."""

    number: int
    free: int
    size: int


def disk_of(folder: pathlib.Path) -> Disk:
    """Return the disk that `folder` is on, or would be on."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    status = os.statvfs(place)
    return Disk(place.stat().st_dev, status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)


def disk_space(folders: Sequence[str]) -> list[dict[str, Any]]:
    """Return the disks of `folders`, each with those that are on it, the bytes that are free, and those in all."""
    found: dict[int, dict[str, Any]] = {}
    for folder in folders:
        disk = disk_of(pathlib.Path(folder))
        found.setdefault(disk.number, {"folders": [], "free": disk.free, "size": disk.size})
        found[disk.number]["folders"].append(folder)
    return list(found.values())


def fleet_state(path: pathlib.Path = STATE_FILE) -> dict[str, Any] | None:
    """Return the state of the fleet that `path` holds, None without the file.

    Raises:
        ValueError: when the file holds anything else.
    """
    try:
        state = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} can't be read ({error}): {STATE_FIX}") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no JSON object: {STATE_FIX}")
    return state


def registry_digests(folder: pathlib.Path = REGISTRY_FOLDER) -> list[str]:
    """Return the digests of the endpoints' images that the registry whose storage is `folder` holds, sorted."""
    revisions = folder / "docker/registry/v2/repositories/flotilla/model-endpoint/_manifests/revisions/sha256"
    return sorted(f"sha256:{link.parent.name}" for link in revisions.glob("*/link"))


def acme_state(path: pathlib.Path = ACME_STATE) -> dict[str, Any]:
    """Return what the keeper of role acme has written of its orders, empty where it has written nothing."""
    try:
        state = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def os_release(path: pathlib.Path = OS_RELEASE) -> dict[str, str]:
    """Return the entries of /etc/os-release, os-release(5). Python's own function for it came with 3.10."""
    entries = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        name, assigned, value = line.partition("=")
        if assigned and not line.startswith("#"):
            entries[name.strip()] = "".join(shlex.split(value))
    return entries


def distributions(release: Mapping[str, str]) -> list[str]:
    """Return the distribution and its version, "debian-13" for one, from the entries of /etc/os-release.

    The version's first part alone comes after it, and what the distribution is like at the end: "rhel-9" for Rocky
    Linux 9.6.
    """
    version = release.get("VERSION_ID", "")
    names = [release.get("ID", "linux"), *release.get("ID_LIKE", "").split()]
    found = [f"{name}-{part}".rstrip("-") for name in names for part in (version, version.partition(".")[0])]
    return list(dict.fromkeys(found))


def unsupported(system: str, architecture: str) -> str:
    """Say why a machine of this kind can't be in a fleet, and what to do; "" where it can.

    `system` and `architecture` are what the kernel calls itself and the processor, as `uname` shows them.
    """
    if system != "Linux":
        return (
            f"The machine runs {system}, and Flotilla deploys to Linux machines alone: name Linux machines in an "
            "inventory, and run ansible-playbook site.yml -i INVENTORY from here"
        )
    if architecture != "x86_64":
        return (
            f"The machine's architecture is {architecture}, and Flotilla's images are made for x86_64 alone: take "
            "its hosts out of the inventory"
        )
    return ""

"""The images on the builder of a fleet under test, which shares their folder with the builders of other fleets."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fleet.fleet import Fleet
from fleet.machine import Machine

FOLDER = "/var/cache/flotilla"


def image_of(machine: Machine, container: str) -> str:
    """Return the name of the image that a container was made for."""
    label = '{{index .Config.Labels "flotilla.image"}}'
    return machine.run("docker", "inspect", "--format", label, container).strip()


def file_of(image: str, kind: str) -> str:
    """Return the path of an image's tarball (tar) or record (json) on the builder."""
    return f"{FOLDER}/{image.replace('/', '-').replace(':', '-')}.{kind}"


@contextmanager
def with_older_packages(fleet: Fleet, image: str, packages: Mapping[str, str]) -> Iterator[None]:
    """Have the builder's record of an image name these versions of its packages; afterwards, the true ones again.

    Without a record, the image is one of an earlier version of Flotilla, and as it is.
    """
    builder, file = fleet.builder, file_of(image, "json")
    found = builder.attempt(["cat", file])
    if found.returncode == 0:
        record = json.loads(found.stdout)
        assert record["packages"].keys() >= packages.keys(), record
        older = {**record, "packages": {**record["packages"], **packages}}
        builder.run("tee", file, stdin=json.dumps(older))
    try:
        yield
    finally:
        if found.returncode == 0:
            builder.run("tee", file, stdin=found.stdout)


@contextmanager
def new_ones_removed(fleet: Fleet) -> Iterator[None]:
    """Remove the tarballs and records that are made meanwhile: their names have a time in them, and never return."""
    before = set(_files(fleet))
    try:
        yield
    finally:
        if made := sorted({*_files(fleet)} - before):
            fleet.builder.run("rm", *made)


def _files(fleet: Fleet) -> list[str]:
    return fleet.builder.run(
        "find", FOLDER, "-name", "flotilla-*.tar", "-o", "-name", "flotilla-*.json"
    ).split()

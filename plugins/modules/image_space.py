#!/usr/bin/python
"""Runs on hosts: compares the space that an image needs with what is free on the machine's disks."""

from __future__ import annotations

import http.client
import pathlib
from collections.abc import Callable, Mapping
from typing import TypedDict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.docker_engine import Engine
from ansible_collections.flotilla.fleet.plugins.module_utils.machine_files import Disk, disk_of

DOCUMENTATION = r"""
module: image_space
short_description: Compare the space that an image needs with what is free
description:
  - Runs on hosts, and changes nothing.
  - What is needed in folders that are on one disk is added up. A folder that is missing stands for the one above it.
options:
  engine:
    description: Bytes that are needed in the folder where the Docker engine keeps its images.
    type: int
    required: true
  folders:
    description: Bytes that are needed in other folders, by path.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Compare the free space with what the image needs
  flotilla.fleet.image_space:
    engine: 600000000
    folders: {/var/cache/flotilla: 80000000}
  register: disks
"""

RETURN = r"""
full:
  description: The disks that have less space than is needed, each with the folders on it, and the bytes.
  returned: always
  type: list
  elements: dict
  sample: [{folders: [/var/cache/flotilla, /var/lib/docker], needed: 680000000, free: 1000}]
"""


class FullDisk(TypedDict):
    """A disk that has too little space."""

    folders: list[str]
    needed: int
    free: int


def full_disks(needed: Mapping[str, int], disk: Callable[[pathlib.Path], Disk] = disk_of) -> list[FullDisk]:
    """Return the disks that are too full for what is `needed`, bytes by folder."""
    found: dict[int, FullDisk] = {}
    for folder, size in sorted(needed.items()):
        place = disk(pathlib.Path(folder))
        entry = found.setdefault(place.number, {"folders": [], "needed": 0, "free": place.free})
        entry["folders"].append(folder)
        entry["needed"] += size
    return [entry for entry in found.values() if entry["needed"] > entry["free"]]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "engine": {"type": "int", "required": True},
            "folders": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    needed = {folder: int(size) for folder, size in module.params["folders"].items()}
    try:
        root: str = Engine().get("/info")["DockerRootDir"]
        full = full_disks({**needed, root: needed.get(root, 0) + module.params["engine"]})
    except (OSError, ValueError, http.client.HTTPException) as error:
        module.fail_json(msg=f"The free space can't be read: {error}")
    module.exit_json(changed=False, full=full)


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Runs on the image builder: asks a Debian mirror which packages of images it has in newer versions."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.image_record import (
    ImageRecord,
    record_of,
    write_record,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.mmdebstrap import (
    look_command,
    simulated_packages,
)

DOCUMENTATION = r"""
module: debian_packages
short_description: Ask Debian for newer packages of images
description:
  - Runs on the image builder, and changes no image.
  - Asks the mirror, by C(mmdebstrap --simulate), which packages module debian_image would unpack now, and compares
    their versions with those of the image.
  - The answer is kept beside the image's tarball, for module machine_state to tell of it. That is a record, and counts
    as no change; check mode keeps it too.
  - An image that an earlier version of Flotilla made has no record of its packages, so that nothing is known of it.
options:
  images:
    description: >-
      The images, each with its name and tag (C(image)), and the C(suite) and the C(packages) that module debian_image
      was given. Those that the builder has not made yet are passed over.
    type: list
    elements: dict
    required: true
  mirror:
    description: As of module debian_image.
    type: str
    default: ""
  proxy:
    description: As of module debian_image.
    type: str
    default: ""
  cache:
    description: Folder on the host with the tarballs and records of module debian_image.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Ask Debian for newer packages
  flotilla.fleet.debian_packages:
    images:
      - {image: "flotilla/nginx:0c0ffee0", suite: forky, packages: [nginx]}
    cache: /var/cache/flotilla
"""

RETURN = r"""
looked:
  description: >-
    The images that the builder has, each with its name and tag (C(image)), whether the versions of its packages are
    known (C(recorded)), and the C(newer) packages, by name from the image's version to Debian's.
  returned: always
  type: list
  elements: dict
  sample: [{image: "flotilla/nginx:0c0ffee0", recorded: true, newer: {nginx: ["1.30.6-1", "1.30.7-1"]}}]
"""

Run = Callable[[list[str]], tuple[int, str, str]]


class Recipe(TypedDict):
    """What an image is made of."""

    image: str
    suite: str
    packages: list[str]


class Look(TypedDict):
    """What was found of an image."""

    image: str
    recorded: bool
    newer: dict[str, list[str]]


class NoAnswerError(Exception):
    """Debian's mirror gave no answer; the message is for the user."""


def newer_packages(
    has: Mapping[str, str], debian: Mapping[str, str], is_newer: Callable[[str, str], bool]
) -> dict[str, list[str]]:
    """Return the packages that Debian has in newer versions than an image, from its version to Debian's.

    A package that only Debian's answer names belongs to them, with an empty version before. A package that only the
    image has is no longer needed, by a newer version of another one. `is_newer` tells whether its first version is
    newer than its second: a mirror that lags behind has older ones.
    """
    return {
        name: [has.get(name, ""), version]
        for name, version in sorted(debian.items())
        if name not in has or (version != has[name] and is_newer(version, has[name]))
    }


def look_at(recipe: Recipe, record: ImageRecord, run: Run, mirror: str, proxy: str) -> Look:
    """Return which packages of an image Debian has in newer versions.

    Raises:
        NoAnswerError: when the mirror does not tell.
    """
    look: Look = {"image": recipe["image"], "recorded": bool(record["packages"]), "newer": {}}
    if not look["recorded"]:
        return look
    code, output, error = run(look_command(recipe["suite"], recipe["packages"], mirror, proxy))
    debian = simulated_packages(output + error)
    if code != 0 or not debian:
        last = "\n".join(error.strip().splitlines()[-8:])
        raise NoAnswerError(
            f"Debian could not be asked for newer packages of {recipe['image']}: mmdebstrap ended with {code}. Check "
            "that this host reaches a Debian mirror, or set registry_debian_mirror or registry_debian_proxy. Its last "
            f"lines:\n{last}"
        )
    look["newer"] = newer_packages(
        record["packages"],
        debian,
        lambda one, other: run(["dpkg", "--compare-versions", one, "gt", other])[0] == 0,
    )
    return look


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "list", "elements": "dict", "required": True},
            "mirror": {"type": "str", "default": ""},
            "proxy": {"type": "str", "default": ""},
            "cache": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    wanted: dict[str, Any] = module.params
    cache, looked = pathlib.Path(wanted["cache"]), []
    for recipe in wanted["images"]:
        record = record_of(cache, recipe["image"])
        if record is None and module.run_command(["docker", "image", "inspect", recipe["image"]])[0] != 0:
            continue
        record = record or {"made": 0, "packages": {}, "looked": 0, "newer": {}}
        asked_at = time.time()
        try:
            look = look_at(recipe, record, module.run_command, wanted["mirror"], wanted["proxy"])
            if look["recorded"]:
                newer = {name: versions[1] for name, versions in look["newer"].items()}
                write_record(cache, recipe["image"], {**record, "looked": asked_at, "newer": newer})
        except (NoAnswerError, OSError) as error:
            module.fail_json(msg=str(error))
        looked.append(look)
    module.exit_json(changed=False, looked=looked)


if __name__ == "__main__":
    main()

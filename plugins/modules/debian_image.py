#!/usr/bin/python
"""Runs on the image builder: makes a Docker image of Debian packages, with mmdebstrap."""

from __future__ import annotations

import os
import pathlib
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.image_record import (
    ImageRecord,
    replaced_tags,
    tarball_of,
    write_record,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.mmdebstrap import (
    downloaded_packages,
    mmdebstrap_command,
)

DOCUMENTATION = r"""
module: debian_image
short_description: Make a Docker image of Debian packages
description:
  - Runs on the image builder.
  - Unpacks the named packages and their dependencies with C(mmdebstrap --variant=extract), and imports the result. No
    maintainer script runs and no essential package is added, so the image contains no package manager.
  - The tarball stays in O(cache), so that an engine that lost the image gets it back without a download. A record of
    the packages' versions stays beside it, for module debian_packages.
  - The two newest images of a repository stay. Making an image removes the others from the host.
options:
  image:
    description:
      - Name and tag of the image. The tag must change with the recipe, because an image that exists is not made again.
    type: str
    required: true
  suite:
    description: The Debian release to take the packages from.
    type: str
    required: true
  packages:
    description: The packages to unpack. Their dependencies are added.
    type: list
    elements: str
    required: true
  capabilities:
    description: File capabilities to set, by path in the image.
    type: dict
    default: {}
  files:
    description: Text files to add, by path in the image.
    type: dict
    default: {}
  left_out:
    description: Files to leave out, as paths in the image or patterns of them.
    type: list
    elements: str
    default: []
  bytecode:
    description:
      - Folders of Python modules, by path in the image, to compile with the image's own Python. In Debian a maintainer
        script does this; without it, each start of a program compiles the modules that it imports.
    type: list
    elements: str
    default: []
  mirror:
    description:
      - URL of the Debian mirror to take the packages from; without one, that of C(mmdebstrap). The security updates of
        a stable release come from the same URL with C(-security) after it.
      - "The packages' signatures are checked whatever the mirror is, so that the image is the same."
    type: str
    default: ""
  proxy:
    description: URL of the HTTP proxy through which the mirror is reached. Empty for none.
    type: str
    default: ""
  cache:
    description: Folder on the host for the tarballs.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Make the image of Nginx
  flotilla.fleet.debian_image:
    image: flotilla/nginx:0c0ffee0
    suite: forky
    packages: [nginx]
    capabilities:
      /usr/sbin/nginx: cap_net_bind_service=+ep
    cache: /var/cache/flotilla
"""

RETURN = r"""
image:
  description: Name and tag of the image.
  returned: always
  type: str
removed:
  description: The tags of the images of the same repository that were removed from the host, with their tarballs.
  returned: when the image was made
  type: list
  elements: str
"""


NEWEST = 2
"""How many images of a repository stay, the newest ones."""


def make(module: AnsibleModule, image: str, tarball: pathlib.Path) -> None:
    """Unpack the packages into the tarball, and keep their versions beside it."""
    tarball.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # mmdebstrap writes another file, which is renamed, so that an interrupted run leaves no part of a tarball to
    # import. The name ends with .tar because mmdebstrap chooses the format by it.
    part = tarball.with_name(f"part-{os.getpid()}-{tarball.name}")
    # fmt: off
    command = mmdebstrap_command(
        module.params["suite"], module.params["packages"], module.params["capabilities"], module.params["files"],
        module.params["bytecode"], str(part), module.params["left_out"], module.params["mirror"],
        module.params["proxy"],
    )
    # fmt: on
    began = time.time()
    code, output, error = module.run_command([command[0], "--verbose", *command[1:]])
    if code != 0:
        part.unlink(missing_ok=True)
        last = "\n".join(error.strip().splitlines()[-8:])
        module.fail_json(
            msg=f"The image {image} could not be made: mmdebstrap ended with {code}. "
            f"Check that this host reaches a Debian mirror, or set registry_debian_mirror or"
            f" registry_debian_proxy. Its last lines:\n{last}"
        )
    packages = downloaded_packages(output + error)
    record: ImageRecord = {"made": began, "packages": packages, "looked": began, "newer": {}}
    write_record(tarball.parent, image, record)
    part.rename(tarball)


def remove_replaced(module: AnsibleModule, image: str, cache: pathlib.Path) -> list[str]:
    """Remove what an image has replaced, the one before it aside, and return the tags."""
    tags = replaced_tags(cache, image, NEWEST)
    for tag in tags:
        other = f"{image.partition(':')[0]}:{tag}"
        for file in (tarball_of(cache, other), tarball_of(cache, other).with_suffix(".json")):
            file.unlink(missing_ok=True)
        module.run_command(["docker", "image", "rm", other])
    return tags


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "suite": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "required": True},
            "capabilities": {"type": "dict", "default": {}},
            "files": {"type": "dict", "default": {}},
            "bytecode": {"type": "list", "elements": "str", "default": []},
            "left_out": {"type": "list", "elements": "str", "default": []},
            "mirror": {"type": "str", "default": ""},
            "proxy": {"type": "str", "default": ""},
            "cache": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    image: str = module.params["image"]
    if module.run_command(["docker", "image", "inspect", image])[0] == 0:
        module.exit_json(changed=False, image=image)
    if module.check_mode:
        module.exit_json(changed=True, image=image)

    tarball = tarball_of(pathlib.Path(module.params["cache"]), image)
    if not tarball.exists():
        make(module, image, tarball)
    module.run_command(["docker", "import", str(tarball), image], check_rc=True)
    module.exit_json(changed=True, image=image, removed=remove_replaced(module, image, tarball.parent))


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Runs on the image builder: makes a Docker image of Debian packages, with mmdebstrap."""

from __future__ import annotations

import os
import pathlib
import shlex
from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: debian_image
short_description: Make a Docker image of Debian packages
description:
  - Runs on the image builder.
  - Unpacks the named packages and their dependencies with C(mmdebstrap --variant=extract), and imports the result. No
    maintainer script runs and no essential package is added, so the image contains no package manager.
  - The tarball stays in O(cache), so that an engine that lost the image gets it back without a download.
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
"""

# Documentation and translations are two thirds of the files, and a container needs neither.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")

# The package index of Debian testing is valid for a week. So that a mirror or proxy that lags behind does not stop the
# build, the index may be this old (in seconds: 180 days). Its signature is still checked. Stable's index never expires.
INDEX_MAY_BE = 180 * 24 * 3600

# The maintainer scripts that make Debian's accounts don't run. Programs look these few up by name.
ACCOUNTS = {
    "/etc/passwd": "root:x:0:0::/:/usr/sbin/nologin\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
}


UNRELEASED = ("forky", "testing", "sid", "unstable")
"""The suites that have no updates apart from them."""


def sources(suite: str, mirror: str) -> list[str]:
    """Return the lines of sources.list that have mmdebstrap take `suite` from a mirror; none for its own mirror."""
    if not mirror:
        return []
    url = mirror.rstrip("/")
    if suite in UNRELEASED:
        return [f"deb {url} {suite} main"]
    updates = [f"deb {url} {suite}-updates main", f"deb {url}-security {suite}-security main"]
    return [f"deb {url} {suite} main", *updates]


def mmdebstrap_command(
    suite: str,
    packages: list[str],
    capabilities: dict[str, str],
    files: dict[str, str],
    bytecode: list[str],
    tarball: str,
    left_out: Sequence[str] = (),
    mirror: str = "",
    proxy: str = "",
) -> list[str]:
    """Return the command that unpacks `packages` of `suite` into the file `tarball`."""
    command = ["mmdebstrap", "--variant=extract", f'--aptopt=Acquire::Min-ValidTime "{INDEX_MAY_BE}"']
    if proxy:
        command += [f'--aptopt=Acquire::{scheme}::Proxy "{proxy}"' for scheme in ("http", "https")]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in (*LEFT_OUT, *left_out)]
    # base-files has /lib64 and similar links, without which no program finds its loader.
    command.append("--include=" + ",".join(["base-files", *packages]))
    for file, content in {**ACCOUNTS, **files}.items():
        folder = pathlib.PurePosixPath(file).parent
        make = f'mkdir -p "$1"{shlex.quote(str(folder))}'
        command.append(f'--extract-hook={make} && printf %s {shlex.quote(content)} > "$1"{shlex.quote(file)}')
    for path, capability in sorted(capabilities.items()):
        command.append(f'--extract-hook=setcap {shlex.quote(capability)} "$1"{shlex.quote(path)}')
    for path in bytecode:
        # unchecked-hash ignores the files' times; the modules of an image never change.
        compiling = f"python3 -m compileall -q --invalidation-mode unchecked-hash {shlex.quote(path)}"
        command.append(f'--extract-hook=chroot "$1" {compiling}')
    return [*command, suite, tarball, *sources(suite, mirror)]


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

    cache = pathlib.Path(module.params["cache"])
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    tarball = cache / f"{image.replace('/', '-').replace(':', '-')}.tar"
    if not tarball.exists():
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
        code, _, error = module.run_command(command)
        if code != 0:
            part.unlink(missing_ok=True)
            last = "\n".join(error.strip().splitlines()[-8:])
            module.fail_json(
                msg=f"The image {image} could not be made: mmdebstrap ended with {code}. "
                f"Check that this host reaches a Debian mirror, or set registry_debian_mirror or"
                f" registry_debian_proxy. Its last lines:\n{last}"
            )
        part.rename(tarball)
    module.run_command(["docker", "import", str(tarball), image], check_rc=True)
    module.exit_json(changed=True, image=image)


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Make a Docker image out of Debian packages, with mmdebstrap and nothing else."""

from __future__ import annotations

import os
import pathlib
import shlex

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: debian_image
short_description: Make a Docker image out of Debian packages
description:
  - Unpacks the named packages and what they depend on with C(mmdebstrap --variant=extract) and imports the
    result. No maintainer script runs and nothing essential is added, so the image holds no package manager.
  - The tarball stays in O(cache), so an engine that lost the image gets it back without a download.
options:
  image:
    description:
      - Name and tag of the image. The tag has to change with the recipe, since an image that exists is kept.
    type: str
    required: true
  suite:
    description: The Debian release to take the packages from.
    type: str
    required: true
  packages:
    description: The packages to unpack; their dependencies follow by themselves.
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
  bytecode:
    description:
      - Folders of Python modules, by path in the image, to compile with the image's own Python. Debian leaves that to a
        maintainer script, and without it each start of a program compiles what it imports.
    type: list
    elements: str
    default: []
  cache:
    description: Folder on the host for the tarballs.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Make the image of Nginx
  debian_image:
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

# Documentation and translations are two thirds of the files, and nobody reads them in a container.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")

# Debian testing's index is valid for a week. A mirror or proxy that lags further behind would stop the build, so
# the index may be this old (in seconds, 180 days); its signature is checked all the same. Stable's never expires.
INDEX_MAY_BE = 180 * 24 * 3600

# The scripts that would make Debian's accounts don't run. Programs look these few up by name.
ACCOUNTS = {
    "/etc/passwd": "root:x:0:0::/:/usr/sbin/nologin\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
}


def mmdebstrap_command(
    suite: str,
    packages: list[str],
    capabilities: dict[str, str],
    files: dict[str, str],
    bytecode: list[str],
    tarball: str,
) -> list[str]:
    """Return the command that unpacks `packages` of `suite` into the file `tarball`."""
    command = ["mmdebstrap", "--variant=extract", f'--aptopt=Acquire::Min-ValidTime "{INDEX_MAY_BE}"']
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    # base-files brings /lib64 and its like, without which no program finds its loader.
    command.append("--include=" + ",".join(["base-files", *packages]))
    for file, content in {**ACCOUNTS, **files}.items():
        folder = pathlib.PurePosixPath(file).parent
        make = f'mkdir -p "$1"{shlex.quote(str(folder))}'
        command.append(f'--extract-hook={make} && printf %s {shlex.quote(content)} > "$1"{shlex.quote(file)}')
    for path, capability in sorted(capabilities.items()):
        command.append(f'--extract-hook=setcap {shlex.quote(capability)} "$1"{shlex.quote(path)}')
    for path in bytecode:
        # The hash form ignores file times, as nobody changes the modules of an image.
        compiling = f"python3 -m compileall -q --invalidation-mode unchecked-hash {shlex.quote(path)}"
        command.append(f'--extract-hook=chroot "$1" {compiling}')
    return [*command, suite, tarball]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "suite": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "required": True},
            "capabilities": {"type": "dict", "default": {}},
            "files": {"type": "dict", "default": {}},
            "bytecode": {"type": "list", "elements": "str", "default": []},
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
        # Written beside its place and renamed, so that an interrupted run leaves no half tarball to import. The
        # name ends in .tar because mmdebstrap chooses its format by it.
        part = tarball.with_name(f"part-{os.getpid()}-{tarball.name}")
        # fmt: off
        command = mmdebstrap_command(
            module.params["suite"], module.params["packages"], module.params["capabilities"], module.params["files"],
            module.params["bytecode"], str(part),
        )
        # fmt: on
        code, _, error = module.run_command(command)
        if code != 0:
            part.unlink(missing_ok=True)
            last = "\n".join(error.strip().splitlines()[-8:])
            module.fail_json(
                msg=f"The image {image} could not be made: mmdebstrap ended with {code}. "
                f"Check that this host reaches a Debian mirror. Its last lines:\n{last}"
            )
        part.rename(tarball)
    module.run_command(["docker", "import", str(tarball), image], check_rc=True)
    module.exit_json(changed=True, image=image)


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Write several small files to a host at once."""

from __future__ import annotations

import os
import pathlib
import stat
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: write_files
short_description: Write several small files at once
description:
  - Brings files to the content, owner and mode given, and makes the folders they lie in (root's, mode 0755).
  - A file by C(ansible.builtin.copy) takes two round trips; over a fleet, with a dozen files a host, those are
    most of a run that has nothing to do.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where the file lies.
        type: path
        required: true
      content:
        description: What it says.
        type: str
        required: true
      mode:
        description: Its mode, as an octal number in quotes.
        type: str
        default: "0644"
      owner:
        description: Number of the user who owns it. The group is root.
        type: int
        default: 0
"""

EXAMPLES = r"""
- name: Write the configuration
  write_files:
    files:
      - path: /etc/thing/config.yml
        content: "{{ lookup('ansible.builtin.template', 'config.yml.j2') }}"
      - path: /etc/thing/key
        content: "{{ thing_key }}"
        mode: "0400"
        owner: 10003
"""

RETURN = r"""
written:
  description: Paths of the files that were changed, or in check mode would be.
  returned: always
  type: list
  elements: str
"""


def present_state(path: pathlib.Path) -> tuple[str, int, int] | None:
    """Return the content, mode and owner of the file at `path`, or None where there is none."""
    try:
        status = path.stat()
        return path.read_text(), stat.S_IMODE(status.st_mode), status.st_uid
    except FileNotFoundError:
        return None


def write(path: pathlib.Path, content: str, mode: int, owner: int) -> None:
    """Put a file in place, whole or not at all, and never readable by others than it is meant for."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchown(descriptor, owner, 0)
            os.fchmod(descriptor, mode)
            file.write(content)
        pathlib.Path(part).replace(path)
    except BaseException:
        pathlib.Path(part).unlink(missing_ok=True)
        raise


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                    "owner": {"type": "int", "default": 0},
                },
            }
        },
        supports_check_mode=True,
    )
    written: list[str] = []
    diffs: list[dict[str, Any]] = []
    for wanted in module.params["files"]:
        path, mode = pathlib.Path(wanted["path"]), int(wanted["mode"], 8)
        try:
            before = present_state(path)
            if before == (wanted["content"], mode, wanted["owner"]):
                continue
            written.append(str(path))
            diffs.append(
                {
                    "before_header": str(path),
                    "after_header": str(path),
                    "before": before[0] if before else "",
                    "after": wanted["content"],
                }
            )
            if not module.check_mode:
                write(path, wanted["content"], mode, wanted["owner"])
        except OSError as error:
            module.fail_json(msg=f"{path} can't be written: {error}", written=written)
    module.exit_json(changed=bool(written), written=written, diff=diffs)


if __name__ == "__main__":
    main()

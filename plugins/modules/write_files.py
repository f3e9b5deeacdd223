#!/usr/bin/python
"""Runs on hosts: writes several small files in one call."""

from __future__ import annotations

import pathlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.atomic_write import write_file
from ansible_collections.flotilla.fleet.plugins.module_utils.file_state import (
    DEFAULT_MODE,
    DEFAULT_OWNER,
    present_state,
    wanted_state,
)

DOCUMENTATION = r"""
module: write_files
short_description: Write several small files at once
description:
  - Runs on hosts.
  - Brings files to the given content, owner and mode, and makes the folders they lie in (root's, mode 0755).
  - C(ansible.builtin.copy) takes two round trips for each file. With a dozen files on each host of a fleet, these take
    most of the time of a run that changes nothing.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path of the file.
        type: path
        required: true
      content:
        description: Content of the file.
        type: str
        required: true
      mode:
        description: Permissions of the file, as an octal number in quotes.
        type: str
        default: "0644"
      owner:
        description: Number of the user who owns the file. The group is root.
        type: int
        default: 0
"""

EXAMPLES = r"""
- name: Write the configuration
  flotilla.fleet.write_files:
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
  description: Paths of the files that were changed, or in check mode would be changed.
  returned: always
  type: list
  elements: str
"""


def present_text(path: pathlib.Path) -> str:
    """Return the content of the file at `path` for a diff, empty where there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


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
                    "mode": {"type": "str", "default": DEFAULT_MODE},
                    "owner": {"type": "int", "default": DEFAULT_OWNER},
                },
            }
        },
        supports_check_mode=True,
    )
    written: list[str] = []
    diffs: list[dict[str, Any]] = []
    for file in module.params["files"]:
        path, content = pathlib.Path(file["path"]), file["content"]
        try:
            if present_state(path) == wanted_state(file):
                continue
            written.append(str(path))
            headers = {"before_header": str(path), "after_header": str(path)}
            diffs.append({**headers, "before": present_text(path), "after": content})
            if not module.check_mode:
                write_file(path, content, mode=int(file["mode"], 8), owner=file["owner"])
        except OSError as error:
            module.fail_json(msg=f"{path} can't be written: {error}", written=written)
    module.exit_json(changed=bool(written), written=written, diff=diffs)


if __name__ == "__main__":
    main()

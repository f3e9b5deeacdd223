#!/usr/bin/python
"""Runs on the controller: copies the fleet's certificate authorities to a backup, and back."""

from __future__ import annotations

import pathlib

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.flotilla.fleet.plugins.module_utils.authority_backup import restore, save
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import HAS_CRYPTOGRAPHY

DOCUMENTATION = r"""
module: authority_backup
short_description: Copy the fleet's certificate authorities to a backup, and back
description:
  - Runs on the controller, and needs cryptography there.
  - Copies the files themselves, so that private keys are in no argument and no result. A key that is encrypted stays
    so.
options:
  action:
    description:
      - V(save) brings the folder C(authorities) in O(folder) to what O(directory) holds. It is refused where others
        than the folder's owner may enter it, and where it holds the authorities of another fleet.
      - V(restore) copies that folder to O(directory) if there are no authorities there. It is refused where there are
        others.
    type: str
    choices: [save, restore]
    required: true
  folder:
    description: The folder of the backup.
    type: path
    required: true
  directory:
    description: The folder of the authorities and of what they issued, as module internal_ca keeps it.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Save the authorities
  flotilla.fleet.authority_backup:
    action: save
    folder: /mnt/backup/fleet
    directory: "{{ internal_ca_directory }}"
"""

RETURN = r"""
written:
  description: Paths of the files that were changed or removed, or in check mode would be.
  returned: success
  type: list
  elements: str
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["save", "restore"], "required": True},
            "folder": {"type": "path", "required": True},
            "directory": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    if not HAS_CRYPTOGRAPHY:
        module.fail_json(msg=missing_required_lib("cryptography"))
    act = save if module.params["action"] == "save" else restore
    folder, directory = pathlib.Path(module.params["folder"]), pathlib.Path(module.params["directory"])
    try:
        written = act(folder, directory, check_mode=module.check_mode)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"The authorities are left as they are: {error}")
    module.exit_json(changed=bool(written), written=written)


if __name__ == "__main__":
    main()

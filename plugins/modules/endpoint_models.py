#!/usr/bin/python
"""Runs on nodes: reads what the models of an endpoint say about themselves."""

from __future__ import annotations

import json

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: endpoint_models
short_description: Read what the models of an endpoint say about themselves
description:
  - Reads each model's card, predictor and distribution of training data in the endpoint's container, and counts its
    golden requests.
  - So the answer is what the container serves, whatever the folder of the models on the controller holds.
options:
  container:
    description: Name of the container, which has to run.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Read the models
  flotilla.fleet.endpoint_models:
    container: flotilla-node1-blue
"""

RETURN = r"""
models:
  description: >-
    By the model's name, its C(card), its C(predictor), its C(distribution) (null where it has none), and how many
    C(golden) requests it has.
  returned: always
  type: dict
"""

SCRIPT = """
import json, pathlib, sys
def read(path):
    return json.loads(path.read_text()) if path.exists() else None
found = {}
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    if (folder / "model.json").exists():
        golden = read(folder / "golden.json") or []
        model = {**read(folder / "model.json"), "distribution": read(folder / "distribution.json")}
        found[folder.name] = {**model, "golden": len(golden)}
print(json.dumps(found))
"""
"""What the container's Python runs. The image has no shell."""

FOLDER = "/opt/flotilla/models"


def main() -> None:
    module = AnsibleModule(
        argument_spec={"container": {"type": "str", "required": True}}, supports_check_mode=True
    )
    container: str = module.params["container"]
    code, output, error = module.run_command(["docker", "exec", container, "python3", "-c", SCRIPT, FOLDER])
    if code != 0:
        last = (error.strip() or output.strip() or f"docker ended with {code}").splitlines()[-1]
        module.fail_json(msg=f"The models in the container {container} could not be read: {last}")
    module.exit_json(changed=False, models=json.loads(output))


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Runs on load balancers: reads from endpoints what they have answered since their start, all at the same time."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.endpoint_connection import (
    OPTIONS,
    Connection,
    client_context,
    failure,
    of_each,
)

DOCUMENTATION = r"""
module: endpoint_answers
short_description: Read what endpoints have answered since their start
description:
  - Runs on load balancers.
  - Reads C(/metrics/answers) of every endpoint, with the certificate that Nginx shows.
  - An endpoint that does not answer is a result, not a failure of the task.
extends_documentation_fragment: [flotilla.fleet.endpoints]
"""

EXAMPLES = r"""
- name: Read the answers that the endpoint has counted
  flotilla.fleet.endpoint_answers:
    endpoints: [{name: node1, slot: blue, address: 192.0.2.21, port: 5001}]
"""

RETURN = r"""
readings:
  description:
    - Of each endpoint RV(readings.name), RV(readings.slot), RV(readings.release), RV(readings.start) (seconds since
      the epoch), RV(readings.models) (the counts by model and output), RV(readings.error) (why there are none).
  returned: always
  type: list
  elements: dict
"""


def read(endpoint: Mapping[str, Any], timeout: float, context: ssl.SSLContext) -> dict[str, Any]:
    """Return what one endpoint has answered, as RETURN describes it."""
    found: dict[str, Any] = {"name": endpoint["name"], "slot": endpoint["slot"]}
    found |= {"release": "", "start": 0.0, "models": {}, "error": ""}
    connection = Connection(endpoint, timeout, context)
    try:
        connection.request("GET", "/metrics/answers")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 404:
            found["error"] = "it counts no answers, as an earlier version of Flotilla made its release"
        elif answer.status != 200:
            found["error"] = f"GET /metrics/answers was answered with status {answer.status}"
        else:
            content = json.loads(body)
            found |= {key: content[key] for key in ("release", "start", "models")}
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        found["error"] = failure(endpoint, error)
    finally:
        connection.close()
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec=OPTIONS,
        supports_check_mode=True,
    )
    context = client_context(module.params["certificate"], module.params["authority"])
    endpoints, timeout = module.params["endpoints"], module.params["timeout"]
    readings = of_each(endpoints, lambda endpoint: read(endpoint, timeout, context))
    module.exit_json(changed=False, readings=readings)


if __name__ == "__main__":
    main()

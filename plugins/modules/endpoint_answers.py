#!/usr/bin/python
"""Runs on load balancers: reads from endpoints what they have answered since their start, all at the same time."""

from __future__ import annotations

import http.client
import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.endpoint_connection import (
    AUTHORITY,
    CERTIFICATE,
    Connection,
    client_context,
    failure,
)

DOCUMENTATION = r"""
module: endpoint_answers
short_description: Read what endpoints have answered since their start
description:
  - Runs on load balancers.
  - Reads C(/metrics/answers) of every endpoint, with the certificate that Nginx shows.
  - An endpoint that does not answer is a result, not a failure of the task.
options:
  endpoints:
    description: The endpoints.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name in the result. Its certificate must be valid for this name and C(.endpoint.flotilla).
        type: str
        required: true
      slot:
        description: Its slot in the result.
        type: str
        required: true
      address:
        description: Its address.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        required: true
  certificate:
    description: File with the certificate to show and its key.
    type: path
    default: /etc/flotilla/nginx/tls/client.pem
  authority:
    description: File with the authorities that sign the endpoints' certificates.
    type: path
    default: /etc/flotilla/nginx/tls/servers.crt
  timeout:
    description: Seconds an answer may take.
    type: float
    default: 2
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


def read(endpoint: dict[str, Any], timeout: float, context: ssl.SSLContext) -> dict[str, Any]:
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
        argument_spec={
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "slot": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                },
            },
            "certificate": {"type": "path", "default": CERTIFICATE},
            "authority": {"type": "path", "default": AUTHORITY},
            "timeout": {"type": "float", "default": 2},
        },
        supports_check_mode=True,
    )
    context = client_context(module.params["certificate"], module.params["authority"])
    endpoints, timeout = module.params["endpoints"], module.params["timeout"]
    with ThreadPoolExecutor(max_workers=max(1, min(32, len(endpoints)))) as pool:
        readings = list(pool.map(lambda endpoint: read(endpoint, timeout, context), endpoints))
    module.exit_json(changed=False, readings=readings)


if __name__ == "__main__":
    main()

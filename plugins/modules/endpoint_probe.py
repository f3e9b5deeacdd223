#!/usr/bin/python
"""Runs on load balancers: asks endpoints for their readiness and their requests in flight, all at the same time."""

from __future__ import annotations

import http.client
import re
import ssl
import time
from collections.abc import Mapping, Sequence
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
module: endpoint_probe
short_description: Ask endpoints for their readiness and their requests in flight
description:
  - Runs on load balancers.
  - Asks every endpoint for its readiness and its metrics, with the certificate that Nginx shows. So the answer tells
    whether this load balancer can use the endpoint.
  - An endpoint that does not answer is a result, not a failure of the task.
extends_documentation_fragment: [flotilla.fleet.endpoints]
options:
  ready_timeout:
    description: Seconds to wait until all endpoints are ready. 0 does not wait.
    type: float
    default: 0
  idle_timeout:
    description: Seconds to wait until no endpoint that answers has a request in flight. 0 does not wait.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Wait until the endpoint is idle
  flotilla.fleet.endpoint_probe:
    endpoints: [{name: node1, address: 192.0.2.21, port: 5001}]
    idle_timeout: 60
"""

RETURN = r"""
endpoints:
  description:
    - By name, RV(endpoints.ready), RV(endpoints.release), RV(endpoints.in_flight) (requests, null if unknown),
      RV(endpoints.certificate_end) (seconds since the epoch, null if unknown) and RV(endpoints.error).
  returned: always
  type: dict
idle:
  description: Whether no endpoint that answers has a request in flight.
  returned: always
  type: bool
busy:
  description: Names of the endpoints that have requests in flight.
  returned: always
  type: list
  elements: str
"""

POLL_SECONDS = 0.2
IN_FLIGHT = re.compile(r"^flotilla_requests_in_flight\{[^}]*\} (\d+)", re.MULTILINE)


def requests_in_flight(metrics: str) -> int | None:
    """Return how many requests the metrics count, without the scrape itself; None if they count none at all."""
    counts = IN_FLIGHT.findall(metrics)
    return max(0, sum(map(int, counts)) - 1) if counts else None


def probe(endpoint: Mapping[str, Any], timeout: float, context: ssl.SSLContext) -> dict[str, Any]:
    """Return the state of one endpoint, as RETURN describes it.

    An endpoint that is not ready is asked for its requests too, because it may still answer some.
    """
    found: dict[str, Any] = {
        "ready": False,
        "release": "",
        "in_flight": None,
        "certificate_end": None,
        "error": "",
    }
    connection = Connection(endpoint, timeout, context)
    try:
        connection.request("GET", "/v2/health/ready")
        found["certificate_end"] = connection.certificate_end
        answer = connection.getresponse()
        answer.read()
        found["ready"] = answer.status == 200
        found["release"] = answer.headers.get("X-Release", "")
        connection.request("GET", "/metrics")
        found["in_flight"] = requests_in_flight(connection.getresponse().read().decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        found["error"] = failure(endpoint, error)
    finally:
        connection.close()
    return found


def probe_all(
    endpoints: Sequence[Mapping[str, Any]], timeout: float, context: ssl.SSLContext
) -> dict[str, dict[str, Any]]:
    """Return the state of every endpoint, by name."""
    return dict(of_each(endpoints, lambda endpoint: (endpoint["name"], probe(endpoint, timeout, context))))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "ready_timeout": {"type": "float", "default": 0},
            "idle_timeout": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    context = client_context(module.params["certificate"], module.params["authority"])
    start = time.monotonic()
    while True:
        found = probe_all(module.params["endpoints"], module.params["timeout"], context)
        busy = [name for name, answer in found.items() if answer["in_flight"]]
        waited = time.monotonic() - start
        await_ready = waited < module.params["ready_timeout"] and not all(
            answer["ready"] for answer in found.values()
        )
        if not (await_ready or (busy and waited < module.params["idle_timeout"])):
            break
        time.sleep(POLL_SECONDS)
    module.exit_json(changed=False, endpoints=found, idle=not busy, busy=busy)


if __name__ == "__main__":
    main()

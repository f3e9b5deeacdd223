#!/usr/bin/python
"""Ask endpoints how they are, all at once, from the machine that sends them requests."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: endpoint_probe
short_description: Ask endpoints how they are
description:
  - Asks every endpoint for its readiness and its metrics, from here and with the certificate that Nginx shows, so that
    the answer is what this machine can use.
  - Nothing fails when an endpoint does not answer; the result says so.
options:
  endpoints:
    description: The endpoints.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the result calls it. Its certificate has to hold this name, followed by C(.endpoint.flotilla).
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
    description: File with the certificate to show, and its key.
    type: path
    default: /etc/flotilla/nginx/tls/client.pem
  authority:
    description: File with the authorities whose endpoints are trusted.
    type: path
    default: /etc/flotilla/nginx/tls/servers.crt
  timeout:
    description: Seconds that one answer may take.
    type: float
    default: 2
  ready_timeout:
    description: Seconds to wait until all are ready. With 0 nothing is waited for.
    type: int
    default: 0
  idle_timeout:
    description: Seconds to wait until none of those that answer has a request in flight. With 0 nothing is waited for.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Wait until the endpoint is idle
  endpoint_probe:
    endpoints: [{name: node1, address: 192.0.2.21, port: 5001}]
    idle_timeout: 60
"""

RETURN = r"""
endpoints:
  description:
    - By name, whether it is ready, its release, the requests in flight (null if unknown), when its certificate ends (in
      seconds since the epoch, null if unknown) and the error.
  returned: always
  type: dict
idle:
  description: Whether no endpoint that answers has a request in flight.
  returned: always
  type: bool
busy:
  description: Names of those that have.
  returned: always
  type: list
  elements: str
"""

IN_FLIGHT = re.compile(r"^flotilla_requests_in_flight\{[^}]*\} (\d+)", re.MULTILINE)


def requests_in_flight(metrics: str) -> int | None:
    """Return how many requests the metrics count, but for the one that asked for them; None if they do not say."""
    counts = IN_FLIGHT.findall(metrics)
    return max(0, sum(map(int, counts)) - 1) if counts else None


class Connection(http.client.HTTPConnection):
    """A connection to an endpoint, which is known by its name and not by its address."""

    # No proxy that the machine is set up for is asked, since Nginx asks none either.
    def __init__(self, endpoint: dict[str, Any], timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(endpoint["address"], endpoint["port"], timeout=timeout)
        self._name = f"{endpoint['name']}.endpoint.flotilla"
        self._context = context
        self.certificate_end: int | None = None

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)
        if end := (self.sock.getpeercert() or {}).get("notAfter"):
            self.certificate_end = int(ssl.cert_time_to_seconds(str(end)))


def probe(endpoint: dict[str, Any], timeout: float, context: ssl.SSLContext) -> dict[str, Any]:
    """Return what one endpoint says of itself: ready, release, in_flight, certificate_end and error.

    One that is not ready is asked for its requests all the same: it may still be at work on some.
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
        found["error"] = f"{endpoint['address']}:{endpoint['port']}: {error or type(error).__name__}"
    finally:
        connection.close()
    return found


def probe_all(
    endpoints: list[dict[str, Any]], timeout: float, context: ssl.SSLContext
) -> dict[str, dict[str, Any]]:
    """Return `probe` of every endpoint, by name."""
    with ThreadPoolExecutor(max_workers=max(1, min(32, len(endpoints)))) as pool:
        answers = pool.map(lambda endpoint: probe(endpoint, timeout, context), endpoints)
        return {endpoint["name"]: answer for endpoint, answer in zip(endpoints, answers, strict=True)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                },
            },
            "certificate": {"type": "path", "default": "/etc/flotilla/nginx/tls/client.pem"},
            "authority": {"type": "path", "default": "/etc/flotilla/nginx/tls/servers.crt"},
            "timeout": {"type": "float", "default": 2},
            "ready_timeout": {"type": "int", "default": 0},
            "idle_timeout": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Before site.yml has been here there is no certificate, and no endpoint that asks for one.
    with contextlib.suppress(FileNotFoundError):
        context.load_verify_locations(module.params["authority"])
        context.load_cert_chain(module.params["certificate"])
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
        time.sleep(0.2)
    module.exit_json(changed=False, endpoints=found, idle=not busy, busy=busy)


if __name__ == "__main__":
    main()

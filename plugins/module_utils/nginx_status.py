"""Runs on load balancers: asks the status server of Nginx."""

from __future__ import annotations

import http.client

ANSWER_TIMEOUT = 2
"""Seconds an answer may take; Nginx is on the same machine."""


def served_version(port: int) -> str:
    """Return the version of the configuration that Nginx serves, by its status server on loopback's `port`.

    Returns an empty text when no Nginx gives a version there, and for port 0.
    """
    if not port:
        return ""
    # http.client asks no proxy, whatever the environment says.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT)
    try:
        connection.request("GET", "/_lb/version")
        answer = connection.getresponse()
        return answer.read().decode(errors="replace").strip() if answer.status == 200 else ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()

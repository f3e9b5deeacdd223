"""The container's health check: `python3 -m model_endpoint.health` exits 0 when the endpoint is ready."""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException

from model_endpoint.settings import Settings


def main() -> int:
    connection = HTTPConnection("127.0.0.1", Settings.from_environment().port, timeout=2)
    try:
        connection.request("GET", "/v2/health/ready")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        print(f"not ready: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())

"""The container's health check, `python3 -m model_endpoint.runtime.health`. Runs beside the workers.

Exits 0 when every worker is ready, else 1.
"""

from __future__ import annotations

import sys
from http.client import HTTPException

from model_endpoint.runtime.settings import Settings
from model_endpoint.runtime.worker_socket import connect_to_workers

SECONDS = 2.0


def main() -> int:
    try:
        workers = connect_to_workers(Settings.from_environment(), SECONDS)
        for worker in workers:
            worker.request("GET", "/v2/health/ready")
        # Only after all were asked: the workers answer at the same time.
        statuses = [worker.getresponse().status for worker in workers]
    except (OSError, HTTPException) as error:
        print(f"not ready: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0 if statuses and all(status == 200 for status in statuses) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The container's health check: `python3 -m model_endpoint.health` exits 0 when every worker is ready."""

from __future__ import annotations

import sys
from http.client import HTTPException

from model_endpoint import door
from model_endpoint.settings import Settings

SECONDS = 2.0


def main() -> int:
    try:
        visits = door.visits(Settings.from_environment(), SECONDS)
        for visit in visits:
            visit.request("GET", "/v2/health/ready")
        # All were asked at once, and each answers by itself.
        statuses = [visit.getresponse().status for visit in visits]
    except (OSError, HTTPException) as error:
        print(f"not ready: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0 if statuses and all(status == 200 for status in statuses) else 1


if __name__ == "__main__":
    sys.exit(main())

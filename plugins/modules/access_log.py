#!/usr/bin/python
"""Runs on load balancers: counts requests and failures in Nginx's access log, by slot, endpoint and release."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.request_log import lines_since, log_files

DOCUMENTATION = r"""
module: access_log
short_description: Count requests and failures in Nginx's access log
description:
  - Runs on load balancers.
  - Reads the last seconds of the access log and of the rotated logs, and counts requests and failures (answers of 500
    and above), by the slot that Nginx chose, the endpoint that answered, and the release that the endpoint named.
  - A log that does not exist counts as empty.
options:
  seconds:
    description: How many seconds back to read, by this machine's clock.
    type: float
    required: true
  path:
    description: The log. A rotated log has a number after this name.
    type: path
    default: /var/log/flotilla/access.log
"""

EXAMPLES = r"""
- name: Read the access log of the last minute
  flotilla.fleet.access_log:
    seconds: 60
"""

RETURN = r"""
sample:
  description:
    - RV(sample.slots) has requests, failures and histogram by slot, RV(sample.releases) requests by release, and
      RV(sample.endpoints) requests, failures and last (the time of the last answer, since the epoch) by endpoint.
    - A histogram counts requests by bucket. Bucket n holds the requests that took from 1.02^n to 1.02^(n+1)
      milliseconds, without the time lost on endpoints to which no connection could be made.
  returned: always
  type: dict
"""

STEP = 1.02


def bucket(seconds: float) -> int:
    """Return the number of the histogram's bucket, 2 % wide, for a request that took so many seconds; at least 0."""
    return max(0, math.floor(math.log(max(seconds, 1e-9) * 1000, STEP)))


def seconds_taken(entry: Mapping[str, Any]) -> float:
    """Return how long a request took, without its tries at endpoints to which no connection could be made.

    Such a try takes the same time whichever release it is for, so a dead machine would falsify the comparison of two
    releases.

    Raises:
        ValueError, KeyError, TypeError: when the entry is not one of a request.
    """
    # Nginx lists its tries in both values, and writes "-" where there was no connection.
    took, connected = (re.split("[,: ]+", entry[name]) for name in ("upstream_seconds", "connect_seconds"))
    if len(took) != len(connected):
        raise ValueError("upstream_seconds and connect_seconds list different numbers of tries")
    tries = (took[number] for number, connection in enumerate(connected) if connection == "-")
    return float(entry["seconds"]) - sum(float(seconds) for seconds in tries if seconds != "-")


def chosen_slot(entry: Mapping[str, Any]) -> str:
    """Return the slot that Nginx chose for a request, empty when it chose none.

    An Nginx configured by release 0.1 calls it "colour". When a run upgrades such a fleet, the watch of its canary
    reads lines that were written before the reload, or by old workers after it.

    Raises:
        KeyError: when the entry names neither.
    """
    slot: str = entry["slot"] if "slot" in entry else entry["colour"]
    return slot


def count(lines: Iterable[str]) -> dict[str, Any]:
    """Return the sample that RETURN describes, of the lines of an access log; other lines are skipped."""
    slots: dict[str, dict[str, Any]] = {}
    endpoints: dict[str, dict[str, Any]] = {}
    releases: dict[str, int] = {}
    for line in lines:
        if not line.startswith("{"):
            continue
        try:
            entry = json.loads(line)
            slot, endpoint, release = chosen_slot(entry), entry["endpoint"], entry["release"]
            failed, seconds, at = entry["status"] >= 500, seconds_taken(entry), float(entry["at"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if slot:
            own = slots.setdefault(slot, {"requests": 0, "failures": 0, "histogram": {}})
            own["requests"] += 1
            own["failures"] += failed
            place = str(bucket(seconds))
            own["histogram"][place] = own["histogram"].get(place, 0) + 1
        if endpoint:
            own = endpoints.setdefault(endpoint, {"requests": 0, "failures": 0, "last": 0.0})
            own["requests"] += 1
            own["failures"] += failed
            own["last"] = max(own["last"], at)
        if release:
            releases[release] = releases.get(release, 0) + 1
    return {"slots": slots, "endpoints": endpoints, "releases": releases}


def recent(path: pathlib.Path, since: float) -> Iterator[str]:
    """Yield the lines of requests answered at `since` (seconds since the epoch) or later, of rotated logs as well.

    The lines are read one at a time, because a log may have hundreds of thousands.

    Raises:
        OSError: when a log can't be read.
    """
    seen = set()
    # The newest log first: a log that is rotated meanwhile is found again under its new name, and no log is missed.
    for place in log_files(path):
        with contextlib.suppress(FileNotFoundError), place.open(errors="replace") as log:
            file = os.fstat(log.fileno())
            if file.st_ino in seen or file.st_mtime < since:
                continue
            seen.add(file.st_ino)
            yield from lines_since(log, since)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "seconds": {"type": "float", "required": True},
            "path": {"type": "path", "default": "/var/log/flotilla/access.log"},
        },
        supports_check_mode=True,
    )
    log = pathlib.Path(module.params["path"])
    try:
        sample = count(recent(log, time.time() - module.params["seconds"]))
    except OSError as error:
        module.fail_json(msg=f"The access log can't be read: {error}")
    module.exit_json(changed=False, sample=sample)


if __name__ == "__main__":
    main()

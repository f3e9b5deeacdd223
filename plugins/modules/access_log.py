#!/usr/bin/python
"""Count what Nginx's access log says of each slot, endpoint and release."""

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

DOCUMENTATION = r"""
module: access_log
short_description: Count what Nginx's access log says
description:
  - Reads the last seconds of the access log and of those that were rotated, and counts requests and failures (answers
    of 500 and above), by the slot Nginx chose, the endpoint that answered, and the release it named.
  - Where there is no log, nobody has asked for anything.
options:
  seconds:
    description: How far back to look, by this machine's clock.
    type: float
    required: true
  path:
    description: The log. Those that were rotated have a number after its name.
    type: path
    default: /var/log/flotilla/access.log
"""

EXAMPLES = r"""
- name: Read the access log of the last minute
  access_log:
    seconds: 60
"""

RETURN = r"""
sample:
  description:
    - RV(sample.slots) has requests, failures and histogram by slot, RV(sample.releases) requests by release, and
      RV(sample.endpoints) requests, failures and last (the time of the last answer, since the epoch) by endpoint.
    - A histogram counts requests by bucket; bucket n holds those that took from 1.02^n to 1.02^(n+1) milliseconds,
      apart from the time lost on endpoints that no connection could be made to.
  returned: always
  type: dict
"""

STEP = 1.02
KEPT = 3  # rotated logs, as in access_log.js of role nginx_lb
# Most lines are too old, and to read each as JSON takes seven times as long.
AT = re.compile(r'"at":(\d+\.\d+)')


def bucket(seconds: float) -> int:
    """Return the number of the histogram's bucket, 2 % wide, that `seconds` falls into; below a millisecond it is 0."""
    return max(0, math.floor(math.log(max(seconds, 1e-9) * 1000, STEP)))


def seconds_taken(entry: Mapping[str, Any]) -> float:
    """Return how long a request took, less its tries at endpoints that could not be connected to.

    Those would be the same whatever release is asked: a machine that dies in the meantime says nothing of it.

    Raises:
        ValueError, KeyError, AttributeError: when the entry is none of a request.
    """
    # Nginx lists its tries in both, and has "-" where there was no connection.
    took, connected = (re.split("[,: ]+", entry[name]) for name in ("upstream_seconds", "connect_seconds"))
    lost = sum(
        float(seconds)
        for seconds, connection in zip(took, connected, strict=True)
        if connection == "-" and seconds != "-"
    )
    return float(entry["seconds"]) - lost


def count(lines: Iterable[str]) -> dict[str, Any]:
    """Return what the lines of an access log add up to; what is none of its lines is passed over."""
    slots: dict[str, dict[str, Any]] = {}
    endpoints: dict[str, dict[str, Any]] = {}
    releases: dict[str, int] = {}
    for line in lines:
        if not line.startswith("{"):
            continue
        try:
            entry = json.loads(line)
            slot, endpoint, release = entry["slot"], entry["endpoint"], entry["release"]
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
    """Yield the lines of what was answered at `since` (seconds since the epoch) or later, of rotated logs as well.

    Line by line, since a log may hold hundreds of thousands.

    Raises:
        OSError: when a log can't be read.
    """
    seen = set()
    # The youngest first: one that is rotated meanwhile comes a second time, and none is left out.
    for name in [path.name, *(f"{path.name}.{number}" for number in range(1, 1 + KEPT))]:
        with contextlib.suppress(FileNotFoundError), path.with_name(name).open(errors="replace") as log:
            file = os.fstat(log.fileno())
            if file.st_ino in seen or file.st_mtime < since:
                continue
            seen.add(file.st_ino)
            for line in log:
                at = AT.search(line)
                if at and float(at[1]) >= since:
                    yield line


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

#!/usr/bin/python
"""Runs on machines of nodes and load balancers: finds lines in the logs of containers and in the access log."""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import re
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.request_log import lines_since, log_files

DOCUMENTATION = r"""
module: log_lines
short_description: Find lines in the logs of containers and in the access log
description:
  - Returns the last lines of each log. The lines are chosen on the machine, since a log may have hundreds of megabytes.
  - A log or a container that does not exist has no lines.
options:
  label:
    description: The containers with this label are read, stopped ones included.
    type: str
    required: true
  path:
    description: A log of requests, read with the rotated logs, which have a number after this name. None if empty.
    type: str
    default: ""
  since:
    description: Lines before this time, in seconds since the epoch, are left out.
    type: float
    default: 0
  status:
    description: Only requests with this status are returned; C(5xx) is every status from 500 to 599.
    type: str
    default: ""
  request_id:
    description: Only the request with this id is returned.
    type: str
    default: ""
  lines:
    description: How many lines of each log are returned at most.
    type: int
    default: 100
"""

EXAMPLES = r"""
- name: Find failed requests
  flotilla.fleet.log_lines:
    label: flotilla.endpoint=node1
    status: 5xx
"""

RETURN = r"""
logs:
  description: For each log its C(name), and its C(lines), the oldest first.
  returned: always
  type: list
  elements: dict
"""

TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT[0-9:.]+Z ")


class Wanted:
    """Tells which lines are asked for."""

    def __init__(self, status: str, request_id: str) -> None:
        self._status = re.compile(status.lower().replace("x", "[0-9]")) if status else None
        self._request_id = request_id

    def __call__(self, line: str) -> bool:
        """Tell whether a line is asked for. Lines that are not about a request are, unless something filters."""
        if not self._status and not self._request_id:
            return True
        if self._request_id and self._request_id not in line:
            return False  # most lines, without parsing them
        try:
            entry = json.loads(TIMESTAMP.sub("", line))
            status, request_id = str(entry["status"]), entry["request_id"]
        except (ValueError, KeyError, TypeError):
            return False
        fits = not self._status or self._status.fullmatch(status)
        return bool(fits) and self._request_id in ("", request_id)


def last(lines: Iterable[str], wanted: Wanted, count: int) -> list[str]:
    """Return the last `count` of the lines that are asked for."""
    return list(collections.deque((line for line in lines if wanted(line)), maxlen=count))


def logged_requests(path: pathlib.Path, since: float) -> Iterator[str]:
    """Yield the lines of a log of requests since then, those of rotated logs first.

    Raises:
        OSError: when a log can't be read.
    """
    for place in reversed(log_files(path)):
        with contextlib.suppress(FileNotFoundError), place.open(errors="replace") as log:
            for line in lines_since(log, since):
                yield line.rstrip("\n")


def container_lines(name: str, since: float) -> Iterator[str]:
    """Yield the lines of a container's log since then, each with its time.

    Raises:
        OSError: when Docker's client can't be run.
    """
    command = ["docker", "logs", "--timestamps", "--since", f"{since:.3f}", name]
    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as docker:
        for line in docker.stdout or ():
            yield line.rstrip("\n")


def containers(label: str) -> dict[str, str]:
    """Return how the containers with a label are doing, by their names.

    Raises:
        OSError, subprocess.CalledProcessError: when Docker does not answer.
    """
    command = ["docker", "ps", "--all", "--filter", f"label={label}", "--format", "{{.Names}}\t{{.Status}}"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    return dict(sorted(line.split("\t") for line in listing.splitlines()))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "label": {"type": "str", "required": True},
            "path": {"type": "str", "default": ""},
            "since": {"type": "float", "default": 0},
            "status": {"type": "str", "default": ""},
            "request_id": {"type": "str", "default": ""},
            "lines": {"type": "int", "default": 100},
        },
        supports_check_mode=True,
    )
    given = module.params
    wanted, count, since = Wanted(given["status"], given["request_id"]), given["lines"], given["since"]
    logs: list[dict[str, Any]] = []
    try:
        if given["path"]:
            requests = logged_requests(pathlib.Path(given["path"]), since)
            logs.append({"name": given["path"], "lines": last(requests, wanted, count)})
        for name, status in containers(given["label"]).items():
            found = last(container_lines(name, since), wanted, count)
            logs.append({"name": f"{name} ({status})", "lines": found})
    except subprocess.CalledProcessError as error:
        module.fail_json(msg=f"Docker does not list the containers: {error.stderr.strip()}")
    except OSError as error:
        module.fail_json(msg=f"The logs can't be read: {error}")
    module.exit_json(changed=False, logs=logs)


if __name__ == "__main__":
    main()

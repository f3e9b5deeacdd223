#!/usr/bin/python
"""Wait until an endpoint has proved that it answers right."""

from __future__ import annotations

import time
from collections.abc import Callable

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: endpoint_ready
short_description: Wait until an endpoint has proved that it answers right
description:
  - Runs C(python3 -m model_endpoint.runtime.golden_check) in the endpoint's container until it passes; this program
    asks every model its golden requests.
  - Gives up before the time is over when an answer is wrong or slow, and when the container is gone, has ended or
    has restarted three times, since waiting mends none of these.
  - An endpoint that is not ready is a result and no failure, so that one task can judge all nodes.
options:
  container:
    description: Name of the container.
    type: str
    required: true
  timeout:
    description: How long the endpoint may take, in seconds.
    type: int
    required: true
  answer_seconds:
    description: How long it may take to answer a golden request, in seconds; the median of several tries counts.
    type: float
    required: true
  log_lines:
    description: How many of the container's last log lines to return when it is not ready.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Wait until it has answered the golden requests
  endpoint_ready:
    container: flotilla-node1-green
    timeout: 60
    answer_seconds: 0.5
  register: proof
"""

RETURN = r"""
ready:
  description: Whether the endpoint is ready.
  returned: always
  type: bool
reason:
  description: Why it is not, in one line; empty when it is.
  returned: always
  type: str
  sample: "iris: golden request 0: took 0.81 s, 0.50 s are allowed"
log:
  description: The container's last log lines, oldest first, long ones cut; none when it is ready.
  returned: always
  type: list
  elements: str
"""

INTERVAL = 0.2  # seconds between two looks
WRONG_OR_SLOW = 3  # the exit code of the golden check when an answer is wrong or slow
# The program that checks, in images of this version and in images built before it had its present name.
CHECKS = ("model_endpoint.runtime.golden_check", "model_endpoint.gate")
RESTARTS = 3
LONGEST = 300  # characters of a log line; one that holds an answer has thousands

Run = Callable[[list[str]], tuple[int, str, str]]


def why_not(run: Run, container: str, timeout: int, answer_seconds: float) -> str:
    """Wait until the endpoint in `container` is ready, for at most `timeout` seconds.

    Returns an empty string then, or why it is not in one line. `run` runs a command and returns its exit code,
    output and errors.
    """
    until = time.monotonic() + timeout
    check, former_check = CHECKS
    while True:
        # An engine that hangs must not hold up the run.
        left = max(until - time.monotonic(), 1)
        command = ["docker", "exec", container, "python3", "-m", check, "--seconds", str(answer_seconds)]
        code, _, errors = run(["timeout", "--signal=KILL", f"{left:.1f}", *command])
        if code == 0:
            return ""
        if check != former_check and "No module named" in errors:
            check = former_check
            continue
        reason = (errors.strip().splitlines() or ["it did not finish proving itself"])[-1]
        if code == WRONG_OR_SLOW:
            return reason
        if end := _end(run, container):
            return end
        if time.monotonic() >= until:
            return f"not ready within {timeout} s; last of all: {reason}"
        time.sleep(INTERVAL)


def _end(run: Run, container: str) -> str:
    """Return why `container` will never be ready, empty when it may be."""
    form = "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}"
    code, output, errors = run(
        ["timeout", "10", "docker", "container", "inspect", "--format", form, container]
    )
    if code != 0:
        # An engine that doesn't answer may come back; a container that is not there does not.
        return f"there is no container {container}" if "no such container" in errors.lower() else ""
    status, exit_code, restarts = output.split()
    if status in ("exited", "dead"):
        return f"the container ended with exit code {exit_code}"
    if int(restarts) >= RESTARTS:
        return f"the container has restarted {restarts} times"
    return ""


def last_lines(run: Run, container: str, count: int) -> list[str]:
    """Return the last `count` lines of the container's log, oldest first, long ones cut."""
    # Output and errors come apart; their times put them in order again.
    command = ["timeout", "10", "docker", "logs", "--timestamps", "--tail", str(count), container]
    code, output, errors = run(command)
    if code != 0:
        return []
    stamped = [line.partition(" ") for line in (output + errors).split("\n") if line]
    return [line[:LONGEST] for _, _, line in sorted(stamped, key=lambda parts: parts[0])]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "timeout": {"type": "int", "required": True},
            "answer_seconds": {"type": "float", "required": True},
            "log_lines": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    container, answer_seconds = module.params["container"], module.params["answer_seconds"]
    for name, low in (("timeout", 1), ("log_lines", 0)):
        if module.params[name] < low:
            module.fail_json(msg=f"{name} is {module.params[name]}; give a whole number of at least {low}")
    if not 0 < answer_seconds < float("inf"):
        module.fail_json(msg=f"answer_seconds is {answer_seconds}; give a number above 0")

    def run(command: list[str]) -> tuple[int, str, str]:
        # A log may hold anything.
        result: tuple[int, str, str] = module.run_command(command, errors="replace")
        return result

    reason = why_not(run, container, module.params["timeout"], answer_seconds)
    log = last_lines(run, container, module.params["log_lines"]) if reason else []
    module.exit_json(changed=False, ready=not reason, reason=reason, log=log)


if __name__ == "__main__":
    main()

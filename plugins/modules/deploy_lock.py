#!/usr/bin/python
"""Runs on load balancers: acquires, releases and breaks the deploy lock."""

from __future__ import annotations

import json
import os
import pathlib
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.atomic_write import write_file
from ansible_collections.flotilla.fleet.plugins.module_utils.folder_lock import locked
from ansible_collections.flotilla.fleet.plugins.module_utils.lock_metrics import write_lock_metrics
from ansible_collections.flotilla.fleet.plugins.module_utils.lock_owner import (
    BEAT,
    LOCK,
    UPTIME,
    Owner,
    Silence,
    describe,
    read_beat,
    read_holder,
    same_run,
)

DOCUMENTATION = r"""
module: deploy_lock
short_description: Keep two runs from deploying at the same time
description:
  - Runs on load balancers. Each of them has a lock file. A run acquires all locks before it changes anything, and
    releases them at its end.
  - An action plugin of the same name adds who this run is. While the run lives, it gives each lock a sign of life every
    10 seconds, in the file C(lock.beat), and at its end it releases the locks that it still holds, however it ended.
    This needs the callback P(flotilla.fleet.deploy_lock#callback).
  - A run that has given no sign of life for 30 seconds, and gives none in the next 20, is dead. Another run takes its
    lock over, with a warning that names the dead run. A run whose lock was taken over ends.
  - Acquire the locks with C(throttle 1). Once one load balancer has refused, the task does not ask the next one. So one
    of two runs that begin at the same time goes on.
options:
  state:
    description:
      - V(acquired) acquires the lock, or fails and says which run holds it.
      - V(released) releases the lock if this run holds it, and does not touch the lock of another run.
      - V(broken) releases the lock even if another run holds it.
    type: str
    choices: [acquired, released, broken]
    required: true
  wait:
    description: How many seconds to wait for another run's lock before the task fails.
    type: int
    default: 0
  playbook:
    description: The playbook that deploys, for the messages.
    type: str
    default: site.yml
  audit:
    description:
      - With state V(released), what the run did. It is appended to the audit log as one line of JSON, whichever run
        holds the lock by now.
      - The keys C(time), C(user), C(controller) and C(playbook) are added, and C(started) where the run held
        the lock. A lock that is taken over from another run gives a line of its own.
    type: dict
  directory:
    description: The folder of the lock, C(lock.json), and the audit log, C(audit.jsonl).
    type: path
    default: /var/lib/flotilla
  beats:
    description: >-
      Whether the run gives its lock signs of life. Acquiring the lock is the first of them. The action plugin sets it.
    type: bool
    default: false
  owner:
    description: The run that wants the lock. The action plugin sets it.
    type: dict
  gone:
    description: >-
      A run and its last sign of life, if that run is dead and its lock may be taken over. The action plugin sets it.
    type: dict
"""

EXAMPLES = r"""
- name: Acquire the deploy lock
  flotilla.fleet.deploy_lock:
    state: acquired
    wait: 60
  throttle: 1

- name: Release the deploy lock
  flotilla.fleet.deploy_lock:
    state: released
    audit: {result: released, live: 3f2a90c1d47b, message: "3f2a90c1d47b is live on 3 of 3 nodes"}
"""

RETURN = r"""
held:
  description: Whether this run holds the lock now.
  returned: always
  type: bool
holder:
  description: >-
    The run that holds the lock, or that held it before it was released: C(user), C(controller), C(pid), C(time),
    C(playbook), C(run) (which tells it from other runs). Empty when no run did.
  returned: always
  type: dict
beat:
  description: The holder's last sign of life, empty when it has given none.
  returned: always
  type: str
silent:
  description: How many seconds ago that was, by the load balancer's uptime. Null when it has given none.
  returned: always
  type: float
taken_over:
  description: The run from which the lock was taken over. Empty when the lock was free.
  returned: always
  type: dict
"""


def append_audit(directory: pathlib.Path, entry: dict[str, Any]) -> None:
    """Append `entry` to the audit log, as one line in one write."""
    line = json.dumps(entry, ensure_ascii=False) + "\n"
    descriptor = os.open(directory / "audit.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def taken_over_entry(owner: Owner, holder: Owner) -> dict[str, Any]:
    """Return the audit log's line about a lock that `owner` took over from `holder`."""
    return {
        "time": owner["time"],
        "user": owner["user"],
        "controller": owner["controller"],
        "playbook": owner["playbook"],
        "result": "taken over",
        "live": "",
        "message": f"the deploy lock of {describe(holder)}",
    }


def answer(directory: pathlib.Path, holder: Owner | None, *, held: bool) -> dict[str, Any]:
    """Return the module's result about a lock that `holder` holds."""
    beat, silent = read_beat(directory, holder)
    return {"held": held, "holder": holder or {}, "taken_over": {}, "beat": beat, "silent": silent}


def write_beat(directory: pathlib.Path, owner: Owner) -> None:
    """Write a sign of life of `owner`, as plugin_utils/lock_keeper.py does."""
    uptime = UPTIME.read_text(encoding="ascii").split()[0]
    write_file(directory / BEAT, f"{owner['run']} {uptime}\n")


def acquire(
    directory: pathlib.Path, owner: Owner, gone: Silence | None, *, beats: bool, check_mode: bool
) -> dict[str, Any]:
    """Acquire the lock for `owner`, unless another run holds it that is not `gone`; return the result."""
    lock = directory / LOCK
    holder = read_holder(lock)
    found = answer(directory, holder, held=bool(holder and same_run(holder, owner)))
    dead = bool(holder and gone and holder.get("run") == gone["run"] and found["beat"] == gone["beat"])
    if check_mode or (holder and not dead):
        return found
    # The sign of life first: a lock without one is never taken for that of a dead run.
    if beats:
        write_beat(directory, owner)
    write_file(lock, json.dumps(owner) + "\n", durable=True)
    write_lock_metrics(directory, time.time(), time.time())
    if holder:
        append_audit(directory, taken_over_entry(owner, holder))
    return {**answer(directory, owner, held=True), "taken_over": holder or {}}


def release(
    directory: pathlib.Path,
    owner: Owner,
    audit: dict[str, Any] | None,
    *,
    force: bool,
    check_mode: bool,
) -> dict[str, Any]:
    """Release the lock if `owner` holds it, or with `force` whoever does, and log `audit`; return the result."""
    holder = read_holder(directory / LOCK)
    found = answer(directory, holder, held=False)
    own = holder is not None and same_run(holder, owner)
    broken = holder if force and not own else None
    if not check_mode:
        # The log first: a run that is killed in between leaves the lock, which the next run sees.
        if audit:
            append_audit(directory, {**audit, "started": holder["time"]} if own and holder else audit)
        if broken:
            append_audit(directory, taken_over_entry(owner, broken))
        if own or broken:
            (directory / LOCK).unlink()
            (directory / BEAT).unlink(missing_ok=True)
            write_lock_metrics(directory, 0, time.time())
    return {**found, "taken_over": broken or {}, "changed": bool(broken)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["acquired", "released", "broken"], "required": True},
            "directory": {"type": "path", "default": "/var/lib/flotilla"},
            "owner": {"type": "dict", "required": True},
            "beats": {"type": "bool", "default": False},
            "gone": {"type": "dict", "default": {}},
            "audit": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    state, owner = module.params["state"], module.params["owner"]
    directory = pathlib.Path(module.params["directory"])
    try:
        if module.check_mode and not directory.is_dir():
            module.exit_json(changed=False, **answer(directory, None, held=False))
        with locked(directory):
            if state == "acquired":
                result = acquire(
                    directory,
                    owner,
                    module.params["gone"] or None,
                    beats=module.params["beats"],
                    check_mode=module.check_mode,
                )
            else:
                result = release(
                    directory,
                    owner,
                    module.params["audit"],
                    force=state == "broken",
                    check_mode=module.check_mode,
                )
    except OSError as error:
        module.fail_json(msg=f"The deploy lock in {directory} can't be changed: {error}", held=False)
    module.exit_json(**{"changed": False, **result})


if __name__ == "__main__":
    main()

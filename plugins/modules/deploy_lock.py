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

DOCUMENTATION = r"""
module: deploy_lock
short_description: Keep two runs from deploying at the same time
description:
  - Runs on load balancers. Each of them has a lock file. A run acquires all locks before it changes anything, and
    releases them at its end.
  - An action plugin of the same name adds who this run is. If the run that holds the lock was started on this
    controller and has ended without releasing it (it was killed, for example), the lock is taken over, with a warning
    that names that run.
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
      - The keys C(time), C(user), C(controller) and C(playbook) are added. A lock that is taken over from another run
        gives a line of its own.
    type: dict
  directory:
    description: The folder of the lock, C(lock.json), and the audit log, C(audit.jsonl).
    type: path
    default: /var/lib/flotilla
  owner:
    description: The run that wants the lock. The action plugin sets it.
    type: dict
  gone:
    description: A holder that has ended, and whose lock may be taken over. The action plugin sets it.
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
    The run that holds the lock, or that held it before it was released: C(user), C(controller), C(pid), C(started) and
    C(pid_space) (which tell the process from others with the same number), C(time), C(playbook). Empty when no run did.
  returned: always
  type: dict
taken_over:
  description: The run from which the lock was taken over. Empty when the lock was free.
  returned: always
  type: dict
"""

IDENTITY = ("controller", "pid", "started", "pid_space")  # the keys that tell one run from another


def read_holder(lock: pathlib.Path) -> dict[str, Any]:
    """Return the run that holds `lock`, {} when no run does. A lock that can't be read is held by an unknown run."""
    try:
        text = lock.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        holder = json.loads(text)
    except ValueError:
        holder = None
    if isinstance(holder, dict) and holder:
        return holder
    since = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(lock.stat().st_mtime))
    unknown = dict.fromkeys(("user", "controller", "playbook"), "unknown")
    return {**unknown, "pid": 0, "time": since}


def same_run(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether two holders are the same run."""
    return all(one.get(key) == other.get(key) for key in IDENTITY)


def append_audit(directory: pathlib.Path, entry: dict[str, Any]) -> None:
    """Append `entry` to the audit log, as one line in one write."""
    line = json.dumps(entry, ensure_ascii=False) + "\n"
    descriptor = os.open(directory / "audit.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def taken_over_entry(owner: dict[str, Any], holder: dict[str, Any]) -> dict[str, Any]:
    """Return the audit log's line about a lock that `owner` took over from `holder`."""
    return {
        **{key: owner.get(key) for key in ("time", "user", "controller", "playbook")},
        "result": "taken over",
        "live": "",
        "message": "the deploy lock of {user}@{controller}, process {pid}, {playbook}, since {time}".format(
            **holder
        ),
    }


def acquire(
    directory: pathlib.Path, owner: dict[str, Any], gone: dict[str, Any], *, check_mode: bool
) -> dict[str, Any]:
    """Acquire the lock for `owner`, unless a run other than `owner` and `gone` holds it; return the result."""
    lock = directory / "lock.json"
    holder = read_holder(lock)
    taken_over = holder if gone and same_run(holder, gone) else {}
    if holder and not taken_over:
        return {"held": same_run(holder, owner), "holder": holder, "taken_over": {}}
    if check_mode:
        return {"held": False, "holder": holder, "taken_over": {}}
    write_file(lock, json.dumps(owner) + "\n", durable=True)
    if taken_over:
        append_audit(directory, taken_over_entry(owner, taken_over))
    return {"held": True, "holder": owner, "taken_over": taken_over}


def release(
    directory: pathlib.Path,
    owner: dict[str, Any],
    audit: dict[str, Any] | None,
    *,
    force: bool,
    check_mode: bool,
) -> dict[str, Any]:
    """Release the lock if `owner` holds it, or with `force` whoever does, and log `audit`; return the result."""
    lock = directory / "lock.json"
    holder = read_holder(lock)
    own = bool(holder) and same_run(holder, owner)
    taken_over = holder if force and not own else {}
    if not check_mode:
        # The log first: a run that is killed in between leaves the lock, which the next run sees.
        if audit:
            append_audit(directory, audit)
        if taken_over:
            append_audit(directory, taken_over_entry(owner, taken_over))
        if own or taken_over:
            lock.unlink()
    return {"held": False, "holder": holder, "taken_over": taken_over, "changed": bool(taken_over)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["acquired", "released", "broken"], "required": True},
            "directory": {"type": "path", "default": "/var/lib/flotilla"},
            "owner": {"type": "dict", "required": True},
            "gone": {"type": "dict", "default": {}},
            "audit": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    state, owner = module.params["state"], module.params["owner"]
    directory = pathlib.Path(module.params["directory"])
    try:
        if module.check_mode and not directory.is_dir():
            module.exit_json(changed=False, held=False, holder={}, taken_over={})
        with locked(directory):
            if state == "acquired":
                result = acquire(directory, owner, module.params["gone"], check_mode=module.check_mode)
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

#!/usr/bin/python
"""Take and free the deploy lock of a load balancer."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: deploy_lock
short_description: Keep two runs from deploying at the same time
description:
  - One lock lies on every load balancer. A run takes it before it changes anything, and frees it at its end.
  - An action plugin of the same name says whose the lock is to be. When the run that holds the lock was started on this
    very controller and is gone (killed, say), the lock is taken over, with a warning that names that run.
  - Take the locks with C(throttle 1). Once one load balancer has refused, the task asks no further one, so of two runs
    that begin at the same time one goes on.
options:
  state:
    description:
      - V(held) takes the lock, or fails and says who has it.
      - V(free) frees it if it is this run's own, and leaves another's alone.
      - V(taken) frees it whoever holds it.
    type: str
    choices: [held, free, taken]
    required: true
  wait:
    description: How many seconds to wait for another run's lock before giving up.
    type: int
    default: 0
  playbook:
    description: The playbook that deploys, for the messages.
    type: str
    default: site.yml
  audit:
    description:
      - With state V(free), what the run did, appended to the audit log as one line of JSON, whoever holds the lock now.
      - The keys C(time), C(user), C(controller) and C(playbook) are added. A lock that is taken over from another run
        leaves a line of its own.
    type: dict
  directory:
    description: The folder of the lock, C(lock.json), and the audit log, C(audit.jsonl).
    type: path
    default: /var/lib/flotilla
  owner:
    description: Who takes the lock. The action plugin sets it.
    type: dict
  gone:
    description: A holder whose lock may be taken over. The action plugin sets it.
    type: dict
"""

EXAMPLES = r"""
- name: Take the deploy lock
  deploy_lock:
    state: held
    wait: 60
  throttle: 1

- name: Free it
  deploy_lock:
    state: free
    audit: {result: released, live: 3f2a90c1d47b, message: "3f2a90c1d47b is live on 3 of 3 nodes"}
"""

RETURN = r"""
held:
  description: Whether this run holds the lock now.
  returned: always
  type: bool
holder:
  description: >-
    Who holds the lock, or, once it is freed, who held it: C(user), C(controller), C(pid), C(started) and C(pid_space)
    (which tell the process from others with the same number), C(time), C(playbook). Empty when nobody did.
  returned: always
  type: dict
taken_over:
  description: The holder from whom the lock was taken. Empty when it was free.
  returned: always
  type: dict
"""

IDENTITY = ("controller", "pid", "started", "pid_space")  # what tells one run from another


@contextlib.contextmanager
def exclusive(directory: pathlib.Path) -> Iterator[None]:
    """Let one process at a time look at the files in `directory` and change them."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_holder(lock: pathlib.Path) -> dict[str, Any]:
    """Return who holds `lock`, {} when nobody does. A lock that can't be read is held by an unknown run."""
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
    since = datetime.datetime.fromtimestamp(lock.stat().st_mtime, datetime.UTC)
    unknown = dict.fromkeys(("user", "controller", "playbook"), "unknown")
    return {**unknown, "pid": 0, "time": since.isoformat(timespec="seconds")}


def same_run(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether two holders are one and the same run."""
    return all(one.get(key) == other.get(key) for key in IDENTITY)


def write_lock(lock: pathlib.Path, owner: dict[str, Any]) -> None:
    """Put `lock` in place, whole or not at all, even if the machine loses power."""
    descriptor, part = tempfile.mkstemp(dir=lock.parent, prefix=f".{lock.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o644)
            file.write(json.dumps(owner) + "\n")
            file.flush()
            os.fsync(descriptor)
        pathlib.Path(part).replace(lock)
    except BaseException:
        pathlib.Path(part).unlink(missing_ok=True)
        raise


def append_audit(directory: pathlib.Path, entry: dict[str, Any]) -> None:
    """Append `entry` to the audit log, as one line written at once."""
    line = json.dumps(entry, ensure_ascii=False) + "\n"
    descriptor = os.open(directory / "audit.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def taken_over_entry(owner: dict[str, Any], holder: dict[str, Any]) -> dict[str, Any]:
    """Return the audit log's line about a lock that `owner` took from `holder`."""
    return {
        **{key: owner.get(key) for key in ("time", "user", "controller", "playbook")},
        "result": "taken over",
        "live": "",
        "message": "the deploy lock of {user}@{controller}, process {pid}, {playbook}, since {time}".format(
            **holder
        ),
    }


def hold(
    directory: pathlib.Path, owner: dict[str, Any], gone: dict[str, Any], *, check_mode: bool
) -> dict[str, Any]:
    """Take the lock for `owner` if it is free, `owner`'s already, or still `gone`'s; return the result."""
    lock = directory / "lock.json"
    holder = read_holder(lock)
    taken_over = holder if gone and same_run(holder, gone) else {}
    if holder and not taken_over:
        return {"held": same_run(holder, owner), "holder": holder, "taken_over": {}}
    if check_mode:
        return {"held": False, "holder": holder, "taken_over": {}}
    write_lock(lock, owner)
    if taken_over:
        append_audit(directory, taken_over_entry(owner, taken_over))
    return {"held": True, "holder": owner, "taken_over": taken_over}


def free(
    directory: pathlib.Path,
    owner: dict[str, Any],
    audit: dict[str, Any] | None,
    *,
    anyone: bool,
    check_mode: bool,
) -> dict[str, Any]:
    """Free the lock if it is `owner`'s, or `anyone`'s, and log `audit`; return the result."""
    lock = directory / "lock.json"
    holder = read_holder(lock)
    own = bool(holder) and same_run(holder, owner)
    taken_over = holder if anyone and not own else {}
    if not check_mode:
        # The log first: a run that is cut off in between leaves a lock, which the next run sees.
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
            "state": {"type": "str", "choices": ["held", "free", "taken"], "required": True},
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
        if not directory.is_dir():
            if module.check_mode:
                module.exit_json(changed=False, held=False, holder={}, taken_over={})
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        with exclusive(directory):
            if state == "held":
                result = hold(directory, owner, module.params["gone"], check_mode=module.check_mode)
            else:
                result = free(
                    directory,
                    owner,
                    module.params["audit"],
                    anyone=state == "taken",
                    check_mode=module.check_mode,
                )
    except OSError as error:
        module.fail_json(msg=f"The deploy lock in {directory} can't be changed: {error}", held=False)
    module.exit_json(**{"changed": False, **result})


if __name__ == "__main__":
    main()

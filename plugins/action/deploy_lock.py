"""Runs on the controller: the part of `deploy_lock` that knows processes, and waits for another run's lock."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import pathlib
import time
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.executor.process.worker import WorkerProcess
from ansible.plugins.action import ActionBase
from ansible_collections.flotilla.fleet.plugins.plugin_utils.operator import user_name

PROC = pathlib.Path("/proc")
POLL_SECONDS = 1.0
REPORT_SECONDS = 10.0
UNLOCK = "ansible-playbook flotilla.fleet.unlock"
"""The command that breaks a lock, from the checkout and with the installed collection."""

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["acquired", "released", "broken"], "required": True},
    "wait": {"type": "int", "default": 0},
    "playbook": {"type": "str", "default": "site.yml"},
    "audit": {"type": "dict"},
    "directory": {"type": "path", "default": "/var/lib/flotilla"},
}


def main_process() -> int:
    """Return the number of the process that runs the playbook.

    A task usually runs in a worker that this process has forked. The worker remembers its parent, so the number is
    right even after the parent was killed and init has adopted the worker.
    """
    parent = multiprocessing.parent_process()
    in_worker = isinstance(multiprocessing.current_process(), WorkerProcess)
    return parent.pid if in_worker and parent and parent.pid else os.getpid()


def process_start(pid: int) -> int | None:
    """Return when process `pid` started, in clock ticks since boot, or None when there is no such process.

    A zombie, which has ended but whose parent has not read its exit code yet, counts as no process (proc(5)).
    """
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before may contain spaces and brackets
    return None if fields[0] in "ZX" else int(fields[19])


def pid_space() -> str:
    """Return a text that names the boot and the namespace in which process numbers mean the same as here.

    A host name is not enough: two machines may have the same one. A boot is not enough: a container shares it with
    its machine.
    """
    boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    namespace = (PROC / "self/ns/pid").readlink().name
    return f"{boot} {namespace}"


def now() -> str:
    """Return the time, in ISO 8601, UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def this_run(playbook: str) -> dict[str, Any]:
    """Return this run, as the owner of the locks it acquires.

    Raises:
        AnsibleActionFail: when the run was killed and only this worker is left of it.
    """
    pid = main_process()
    started = process_start(pid)
    if started is None:
        raise AnsibleActionFail(f"The run this task belongs to (process {pid}) has been killed.")
    return {
        "user": user_name(),
        "controller": os.uname().nodename,
        "pid": pid,
        "started": started,
        "pid_space": pid_space(),
        "time": now(),
        "playbook": playbook,
    }


def is_gone(holder: dict[str, Any]) -> bool:
    """Tell whether the run `holder` has certainly ended. A run of another controller never counts as ended."""
    if holder.get("controller") != os.uname().nodename or holder.get("pid_space") != pid_space():
        return False
    return bool(process_start(int(holder["pid"])) != holder["started"])


def describe(holder: dict[str, Any]) -> str:
    """Return the run `holder` in words."""
    return "{user}@{controller} (process {pid}, {playbook}, since {time})".format(**holder)


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Adds this run to the module's arguments, and acts on the module's answer."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(ARGUMENTS)
        self._host = (task_vars or {})["inventory_hostname"]
        self._task_vars = task_vars
        wait, playbook = arguments.pop("wait"), arguments.pop("playbook")
        owner = this_run(playbook)
        if arguments["audit"]:
            stamp = {key: owner[key] for key in ("time", "user", "controller", "playbook")}
            arguments["audit"] = {**stamp, **arguments["audit"]}
        if arguments["state"] == "acquired":
            return self._acquire(arguments, owner, wait)
        result = self._run_module(arguments, owner)
        if arguments["state"] == "broken" and not result.get("failed"):
            self._describe_broken(result)
        return result

    def _run_module(
        self, arguments: dict[str, Any], owner: dict[str, Any], gone: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="flotilla.fleet.deploy_lock",
            module_args={**arguments, "owner": owner, "gone": gone or {}},
            task_vars=self._task_vars,
        )
        return result

    def _acquire(self, arguments: dict[str, Any], owner: dict[str, Any], wait: int) -> dict[str, Any]:
        # Two runs that begin at the same time meet on the first load balancer. The run that is refused there must
        # not acquire the other locks, or the run that goes on would be refused them.
        refusal = pathlib.Path(constants.DEFAULT_LOCAL_TMP) / f"deploy_lock-{self._task._uuid}"
        if refusal.exists():
            return self._refused(
                f"{self._host}: not asked for its deploy lock, {refusal.read_text()} refused"
            )
        result = self._acquire_within(arguments, owner, wait)
        if result.get("taken_over"):
            self._display.warning(
                f"{self._host}: took over the deploy lock of {describe(result['taken_over'])}: that run is gone."
            )
        if result.get("failed"):
            refusal.write_text(self._host)
        return result

    def _acquire_within(self, arguments: dict[str, Any], owner: dict[str, Any], wait: int) -> dict[str, Any]:
        begun, next_report = time.monotonic(), 0.0
        gone: dict[str, Any] | None = None
        while True:
            result = self._run_module(arguments, owner, gone)
            if "holder" not in result or result["held"] or self._task.check_mode:
                return result
            holder = result["holder"]
            gone = holder if is_gone(holder) else None
            if gone:
                continue
            waited = time.monotonic() - begun
            if waited >= wait:
                return self._refused(
                    f"{self._host}: {holder['user']}@{holder['controller']} has been deploying since {holder['time']}"
                    f" (process {holder['pid']}, {holder['playbook']}). Wait for it, or, if that run is gone,"
                    f" break its lock: {UNLOCK}",
                    holder,
                )
            if waited >= next_report:
                next_report += REPORT_SECONDS
                self._display.display(
                    f"{self._host}: waiting for {describe(holder)}, {wait - waited:.0f} s more at most"
                )
            time.sleep(min(POLL_SECONDS, wait - waited))
            this_run(owner["playbook"])  # ends the wait when this run is killed

    @staticmethod
    def _refused(message: str, holder: dict[str, Any] | None = None) -> dict[str, Any]:
        return {
            "failed": True,
            "changed": False,
            "held": False,
            "holder": holder or {},
            "taken_over": {},
            "msg": message,
        }

    def _describe_broken(self, result: dict[str, Any]) -> None:
        holder = result["holder"]
        released = "would release" if self._task.check_mode else "released"
        result["msg"] = (
            f"{self._host}: {released} the deploy lock of {describe(holder)}."
            if holder
            else f"{self._host}: there was no deploy lock."
        )
        if holder and holder.get("pid_space") == pid_space() and not is_gone(holder):
            self._display.warning(f"{self._host}: process {holder['pid']} is still running on this machine.")

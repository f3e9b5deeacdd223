"""Runs on the controller: the part of `deploy_lock` that knows processes, and waits for another run's lock."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import pathlib
import time
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.executor.process.worker import WorkerProcess
from ansible.plugins.action import ActionBase
from ansible_collections.flotilla.fleet.plugins.module_utils.lock_owner import Owner, Silence, describe
from ansible_collections.flotilla.fleet.plugins.plugin_utils import lock_keeper
from ansible_collections.flotilla.fleet.plugins.plugin_utils.operator import now, user_name

POLL_SECONDS = 1.0
REPORT_SECONDS = 10.0
KEPT_OPEN = ("paramiko", "community.docker.docker_api")
"""Connections that are part of the worker's memory. The others are a program for each command, as ssh is."""
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
    """Return the number of the process that runs the playbook. A task usually runs in a worker that it has forked."""
    parent = multiprocessing.parent_process()
    in_worker = isinstance(multiprocessing.current_process(), WorkerProcess)
    return parent.pid if in_worker and parent and parent.pid else os.getpid()


def this_run(playbook: str) -> Owner:
    """Return this run, as the owner of the locks it acquires."""
    controller = os.uname().nodename
    # Ansible has made this folder for this run alone, with a random name.
    token = f"{controller} {constants.DEFAULT_LOCAL_TMP}"
    return {
        "user": user_name(),
        "controller": controller,
        "pid": main_process(),
        "time": now(),
        "playbook": playbook,
        "run": hashlib.sha256(token.encode()).hexdigest()[:32],
    }


def audit_entry(owner: Owner, entry: dict[str, Any]) -> dict[str, Any]:
    """Return `entry` of the audit log with who made it."""
    return {
        "time": owner["time"],
        "user": owner["user"],
        "controller": owner["controller"],
        "playbook": owner["playbook"],
        **entry,
    }


class Watch:
    """Watches the run that holds a lock. A module's result tells what was seen of it."""

    def __init__(self, dead: pathlib.Path) -> None:
        """`dead` keeps the name of a run that was found dead, for the other load balancers whose locks it holds."""
        self._dead = dead
        self._seen: Silence | None = None
        self._since = 0.0

    def silent(self, result: dict[str, Any]) -> bool:
        """Tell whether the holder has given no sign of life for so long that it may be dead."""
        return bool(result["holder"].get("run")) and (result["silent"] or 0.0) >= lock_keeper.SILENT_SECONDS

    def gone(self, result: dict[str, Any]) -> Silence | None:
        """Return the holder's last sign of life when it is dead, otherwise None."""
        if not self.silent(result):
            self._seen = None
            return None
        seen = Silence(run=result["holder"]["run"], beat=result["beat"])
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        if self._dead.exists() and self._dead.read_text() == seen["run"]:
            return seen
        if time.monotonic() - self._since < lock_keeper.WATCH_SECONDS:
            return None
        self._dead.write_text(seen["run"])
        return seen


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Adds this run to the module's arguments, and acts on the module's answer."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(ARGUMENTS)
        self._host = (task_vars or {})["inventory_hostname"]
        self._task_vars = task_vars
        self._folder = pathlib.Path(constants.DEFAULT_LOCAL_TMP)
        self._presence = lock_keeper.Presence(self._folder)
        wait, playbook = arguments.pop("wait"), arguments.pop("playbook")
        owner = this_run(playbook)
        if arguments["audit"]:
            arguments["audit"] = audit_entry(owner, arguments["audit"])
        if arguments["state"] == "acquired":
            return self._acquire(arguments, owner, wait)
        result = self._run_module(arguments, owner)
        if result.get("failed") or self._task.check_mode:
            return result
        if arguments["state"] == "released":
            self._presence.mark(self._lock_host()).unlink(missing_ok=True)  # ends the keeper
        else:
            self._describe_broken(result)
        return result

    def _lock_host(self) -> str:
        """Return the load balancer that the task acts on."""
        return str(self._task.delegate_to or self._host)

    def _run_module(
        self, arguments: dict[str, Any], owner: Owner, gone: Silence | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="flotilla.fleet.deploy_lock",
            module_args={**arguments, "owner": owner, "gone": gone or {}, "beats": self._beats()},
            task_vars=self._task_vars,
        )
        return result

    def _acquire(self, arguments: dict[str, Any], owner: Owner, wait: int) -> dict[str, Any]:
        # Two runs that begin at the same time meet on the first load balancer. The run that is refused there must
        # not acquire the other locks, or the run that goes on would be refused them.
        refusal = self._folder / f"deploy_lock-{self._task._uuid}"
        if refusal.exists():
            return self._refused(
                f"{self._host}: not asked for its deploy lock, {refusal.read_text()} refused"
            )
        result = self._acquire_within(arguments, owner, wait)
        if result.get("taken_over"):
            self._display.warning(
                f"{self._host}: took over the deploy lock of {describe(result['taken_over'])}: that run is dead."
            )
        if result.get("failed"):
            refusal.write_text(self._host)
        elif result.get("held"):
            self._keep(arguments["directory"], owner)
        return result

    def _beats(self) -> bool:
        """Tell whether a process beside this run can give its locks signs of life."""
        return self._presence.begun() and self._connection.transport not in KEPT_OPEN

    def _keep(self, directory: str, owner: Owner) -> None:
        """Start what gives the lock its signs of life, and frees it at the end of the run."""
        if not self._beats():
            self._display.warning(
                f"{self._host}: if this run dies or fails, its deploy lock stays. Enable the callback"
                " flotilla.fleet.deploy_lock (docs/collection.md), and let ansible_connection be ssh, local or"
                f" community.docker.docker; it is {self._connection.transport}."
            )
            return
        host, run = self._lock_host(), owner["run"]
        entry = audit_entry(
            owner, {"result": "failed", "live": "", "message": "the run ended before its last step"}
        )

        def execute(command: str) -> int:
            # Without a queue to the run, which may be gone, and silent: it would speak in the middle of others' output.
            self._display.verbosity = 0
            return int(self._low_level_execute_command(command)["rc"])

        def keeper() -> bool:
            return lock_keeper.keep(
                self._presence,
                host,
                execute,
                lock_keeper.beat_command(directory, run),
                lock_keeper.release_command(
                    directory, run, json.dumps(entry, ensure_ascii=False), owner["playbook"], owner["user"]
                ),
            )

        seconds = lock_keeper.SILENT_SECONDS + lock_keeper.WATCH_SECONDS
        lost = (
            f"{host}: another run has taken the deploy lock over, since this one gave no sign of life for"
            f" {seconds:.0f} s or {UNLOCK} broke the lock; this run was ended."
        )
        lock_keeper.start(self._presence, host, owner["pid"], keeper, lost)

    def _acquire_within(self, arguments: dict[str, Any], owner: Owner, wait: int) -> dict[str, Any]:
        begun, next_report = time.monotonic(), 0.0
        watch, gone = Watch(self._folder / "deploy_lock-dead"), None
        run_lives = self._presence.watch() if self._presence.begun() else lambda: True
        while True:
            if not run_lives():
                raise AnsibleActionFail(
                    f"The run this task belongs to (process {owner['pid']}) has been killed."
                )
            result = self._run_module(arguments, owner, gone)
            if "holder" not in result or result["held"] or self._task.check_mode:
                return result
            gone = watch.gone(result)
            if gone:
                continue
            waited, silent = time.monotonic() - begun, watch.silent(result)
            if waited >= wait and not silent:
                return self._refused(f"{self._host}: {in_the_way(result)}", result["holder"])
            if waited >= next_report:
                next_report += REPORT_SECONDS
                holder = describe(result["holder"])
                self._display.display(
                    f"{self._host}: {holder} has given no sign of life for {result['silent']:.0f} s, waiting for one"
                    if silent
                    else f"{self._host}: waiting for {holder}, {wait - waited:.0f} s more at most"
                )
            time.sleep(POLL_SECONDS if silent else min(POLL_SECONDS, wait - waited))

    @staticmethod
    def _refused(message: str, holder: Owner | None = None) -> dict[str, Any]:
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
        if result["silent"] is not None and result["silent"] < lock_keeper.SILENT_SECONDS:
            self._display.warning(
                f"{self._host}: that run is alive, its last sign of life was {result['silent']:.0f} s ago."
            )


def in_the_way(result: dict[str, Any]) -> str:
    """Return which run holds a lock, and what to do about it."""
    holder: Owner = result["holder"]
    who = (
        f"{holder['user']}@{holder['controller']} has been deploying since {holder['time']} (process {holder['pid']},"
        f" {holder['playbook']})"
    )
    if result["silent"] is None:
        return f"{who}. Wait for it, or, if that run is gone, break its lock: {UNLOCK}"
    return (
        f"{who}, and gave its last sign of life {result['silent']:.0f} s ago. Wait for it (-e release_lock_wait=600"
        f" waits up to 600 s); if it is dead, a run that begins {lock_keeper.SILENT_SECONDS:.0f} s after that takes its"
        " lock over."
    )

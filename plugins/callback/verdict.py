"""Runs on the controller: gives the result of a run at its end, in one line and in a JSON file."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible_collections.flotilla.fleet.plugins.module_utils.atomic_write import write_file
from ansible_collections.flotilla.fleet.plugins.plugin_utils.operator import now, user_name
from ansible_collections.flotilla.fleet.plugins.plugin_utils.output.lines import one_line
from ansible_collections.flotilla.fleet.plugins.plugin_utils.output.results import error_message
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.seen import Knowledge, Seen

DOCUMENTATION = r"""
name: verdict
type: aggregate
short_description: Give the result of a run in one line and in a JSON file
description:
  - Acts in runs that ask for it through C(ansible.builtin.set_stats) with the key C(flotilla_verdict) and a dictionary
    with any of C(path) (of the file, on the controller), C(result), C(live) (the live release) and C(message). A later
    dictionary replaces the keys of an earlier one.
  - The result is C(failed) when a host has failed, unless C(returned) or C(refused) was given, and when the run ends
    before it has given a result; C(refused) when the run did not get the deploy lock. Otherwise it is the given one.
  - Without C(live), the live release is the one in the state that the run has found on the load balancers, or has given
    them. A run that ended before it found one says so, and C(live) is null.
  - The file has these keys (not C(path)), and C(failed) and C(unreachable) (error messages by host), C(left_out)
    (unreachable hosts, and those given under this name), C(playbook) (its file name), C(inventory), C(started) and
    C(ended).
  - A run that ends before it has given a result gets a line in C(history.jsonl) beside the file.
  - For a failed task with C(no_log), the message is only the task's name.
requirements:
  - enabled in the configuration
"""

LOCK = "flotilla.fleet.deploy_lock"

TELLING = frozenset({"ansible.builtin.set_fact", "ansible.builtin.slurp", "flotilla.fleet.machine_state"})
"""The modules whose results tell what load balancers hold."""

LONGEST_ERROR = 180
"""What remains of the verdict's line is for what is live and for the nodes."""

HISTORY = "history.jsonl"
"""The file beside the verdict's with the runs that ended before a load balancer's audit log could have their line."""


def what_is_live(given: Mapping[str, Any], seen: Seen | None) -> str:
    """Return what is live in words: what the run gave, else what it has seen of the load balancers."""
    live = given.get("live", seen.live if seen else None)
    if live is None:
        return "what is live was not looked at"
    return f"release {live} is live" if live else "nothing is live"


def conclude(
    given: Mapping[str, Any],
    failed: Mapping[str, str],
    unreachable: Mapping[str, str],
    seen: Seen | None = None,
    *,
    refused: bool = False,
    hosts: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the verdict: what the run has given, corrected by the errors of its hosts.

    Args:
        given: The dictionary that the run gave to set_stats.
        failed: Error messages by host.
        unreachable: The same for hosts that could not be reached.
        seen: What the run saw of the load balancers' state.
        refused: Whether the run was refused the deploy lock.
        hosts: All hosts that a message may begin with.
    """
    result, live = given.get("result"), what_is_live(given, seen)
    message = given.get("message") or live
    ended = "refused" if refused else "failed"
    if failed and result not in ("failed", "refused", "returned"):
        host, error = next(iter(failed.items()))
        error = one_line(error, LONGEST_ERROR)
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        named = error.startswith(tuple(f"{name}: " for name in {*hosts, *failed}))
        result, message = ended, f"{error if named else f'{host}: {error}'}{others}; {live}"
    elif result is None:
        result, message = ended, f"the run ended early; {live}"
    drained = seen.drained if seen and message != given.get("message") else ()
    down = [] if "left_out" in given or not seen else seen.down
    left_out = sorted({*given.get("left_out", []), *down, *unreachable})
    for word, names in (("drained", drained), ("left out", left_out)):
        message += f"; {word}: {', '.join(names)}" if names else ""
    return {
        "live": seen.live if seen else None,
        **{key: value for key, value in given.items() if key != "path"},
        "result": result,
        "message": one_line(message),
        "failed": dict(failed),
        "unreachable": dict(unreachable),
        "left_out": left_out,
    }


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Collects the errors of a run, and gives the verdict at its end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "verdict"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._errors: dict[str, str] = {}
        self._errors_of_play: set[str] = set()
        self._knowledge = Knowledge()
        self._refused = False
        self._playbook = ""
        self._started = now()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        # A path, even if the run was started with a name such as flotilla.fleet.site.
        self._playbook = pathlib.Path(playbook._file_name).name

    def v2_playbook_on_play_start(self, play: Any) -> None:  # noqa: ARG002
        self._errors_of_play = set()

    def v2_runner_on_ok(self, result: Any) -> None:
        if result.task.action in TELLING:
            self._knowledge.learn(result.result)
        elif result.task.action == LOCK and result.result.get("msg"):
            # The task that ends the run comes later.
            self._refused = self._refused or result.task.args.get("state") == "acquired"

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._note(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._note(result)

    def _note(self, result: Any) -> None:
        """Keep the first error of a host in a play; it has recovered from its errors in earlier plays."""
        host = result.host.get_name()
        if host not in self._errors_of_play:
            self._errors_of_play.add(host)
            hidden = bool(result.task_fields.get("no_log"))
            self._errors[host] = error_message(result.result, result.task_name, hidden=hidden)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        given = stats.custom.get("_run", {}).get("flotilla_verdict")
        if given is None:
            return
        failed, unreachable = self._errors_of(stats.failures), self._errors_of(stats.dark)
        seen, hosts = self._knowledge.seen, stats.processed
        verdict = {
            **conclude(given, failed, unreachable, seen, refused=self._refused, hosts=hosts),
            "playbook": self._playbook,
            "inventory": list(context.CLIARGS.get("inventory") or []),
            "started": self._started,
            "ended": now(),
        }
        if path := given.get("path"):
            try:
                self._write(pathlib.Path(path).expanduser(), verdict, ended_early="result" not in given)
            except OSError as error:
                self._display.warning(f"The verdict can't be written to {path}: {error}")
        self._display.display(f"flotilla: {verdict['result']}: {verdict['message']}")

    @staticmethod
    def _write(path: pathlib.Path, verdict: dict[str, Any], *, ended_early: bool) -> None:
        """Write the verdict, and the history's line of a run that ended before it wrote one on the load balancers."""
        write_file(path, json.dumps(verdict, ensure_ascii=False, indent=2) + "\n")
        if ended_early:
            entry = {
                "time": verdict["ended"],
                "user": user_name(),
                "controller": os.uname().nodename,
                **{key: verdict[key] or "" for key in ("playbook", "result", "live", "message")},
            }
            with (path.parent / HISTORY).open("a", encoding="utf-8") as history:
                history.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def _errors_of(self, hosts: dict[str, int]) -> dict[str, str]:
        """Return the error messages of `hosts`, in the order in which they happened."""
        return {host: error for host, error in self._errors.items() if host in hosts}

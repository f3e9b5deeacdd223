"""Runs on the controller: gives the result of a run at its end, in one line and in a JSON file."""

from __future__ import annotations

import datetime
import json
import pathlib
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible_collections.flotilla.fleet.plugins.module_utils.atomic_write import write_file

DOCUMENTATION = r"""
name: verdict
type: aggregate
short_description: Give the result of a run in one line and in a JSON file
description:
  - Acts in runs that ask for it through C(ansible.builtin.set_stats) with the key C(flotilla_verdict) and a dictionary
    with any of C(path) (of the file, on the controller), C(result), C(live) (the live release) and C(message). A later
    dictionary replaces the keys of an earlier one.
  - The result is C(failed) when a host has failed, unless C(returned) was given, and when the run ends before it has
    given a result. Otherwise it is the given one.
  - The file has these keys (not C(path)), and C(failed) and C(unreachable) (error messages by host), C(left_out)
    (unreachable hosts, and those given under this name), C(playbook) (its file name), C(inventory), C(started) and
    C(ended).
  - For a failed task with C(no_log), the message is only the task's name.
requirements:
  - enabled in the configuration
"""

LINE_LENGTH = 300


def one_line(text: str) -> str:
    """Return `text` on one line, cut to LINE_LENGTH characters."""
    joined = " ".join(text.split())
    return joined if len(joined) <= LINE_LENGTH else f"{joined[: LINE_LENGTH - 1]}…"


def error_message(result: Any) -> str:
    """Return the error message in a failed task's result, or only the task's name when the task hides its result."""
    outcome = result.result
    hidden = result.task_fields.get("no_log") or outcome.get("_ansible_no_log") or "censored" in outcome
    items = [
        item for item in outcome.get("results") or [] if isinstance(item, dict) and _went_wrong(item)
    ] or [outcome]
    if hidden or "censored" in items[0] or items[0].get("_ansible_no_log"):
        return f"the task “{result.task_name}” failed; its result is hidden (no_log)"
    message = str(
        items[0].get("msg") or items[0].get("reason") or f"the task “{result.task_name}” failed"
    ).strip()
    stderr = str(items[0].get("stderr") or "").strip()
    return f"{message}: {stderr.splitlines()[-1]}" if stderr else message


def _went_wrong(item: dict[str, Any]) -> bool:
    return bool(item.get("failed") or item.get("unreachable"))


def conclude(given: dict[str, Any], failed: dict[str, str], unreachable: dict[str, str]) -> dict[str, Any]:
    """Return the verdict: what the run has given, corrected by the errors of its hosts.

    Args:
        given: The dictionary that the run gave to set_stats.
        failed: Error messages by host.
        unreachable: The same for hosts that could not be reached.
    """
    result, live = given.get("result"), given.get("live") or "nothing"
    message = given.get("message") or f"{live} is live"
    if failed and result not in ("failed", "returned"):
        host, error = next(iter(failed.items()))
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        message = f"{error if error.startswith(f'{host}:') else f'{host}: {error}'}{others}; {live} is live"
        result = "failed"
    elif result is None:
        result, message = "failed", f"the run ended early; {live} is live"
    left_out = sorted({*given.get("left_out", []), *unreachable})
    if left_out:
        message += f"; left out: {', '.join(left_out)}"
    return {
        **{key: value for key, value in given.items() if key != "path"},
        "result": result,
        "message": one_line(message),
        "failed": failed,
        "unreachable": unreachable,
        "left_out": left_out,
    }


def now() -> str:
    """Return the time, in ISO 8601, UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


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
        self._playbook = ""
        self._started = now()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        # A path, even if the run was started with a name such as flotilla.fleet.site.
        self._playbook = pathlib.Path(playbook._file_name).name

    def v2_playbook_on_play_start(self, play: Any) -> None:  # noqa: ARG002
        self._errors_of_play = set()

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
            self._errors[host] = error_message(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        given = stats.custom.get("_run", {}).get("flotilla_verdict")
        if given is None:
            return
        verdict = {
            **conclude(given, self._errors_of(stats.failures), self._errors_of(stats.dark)),
            "playbook": self._playbook,
            "inventory": list(context.CLIARGS.get("inventory") or []),
            "started": self._started,
            "ended": now(),
        }
        if path := given.get("path"):
            try:
                content = json.dumps(verdict, ensure_ascii=False, indent=2) + "\n"
                write_file(pathlib.Path(path).expanduser(), content)
            except OSError as error:
                self._display.warning(f"The verdict can't be written to {path}: {error}")
        self._display.display(f"flotilla: {verdict['result']}: {verdict['message']}")

    def _errors_of(self, hosts: dict[str, int]) -> dict[str, str]:
        """Return the error messages of `hosts`, in the order in which they happened."""
        return {host: error for host, error in self._errors.items() if host in hosts}

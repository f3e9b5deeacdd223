"""Says at the end of a run, in one line and in a JSON file, what came of it."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import tempfile
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: verdict
type: aggregate
short_description: Say in one line, and in a JSON file, what came of a run
description:
  - Acts in runs that ask for it through C(ansible.builtin.set_stats) with the key C(flotilla_verdict) and a dictionary
    with any of C(path) (of the file, on the controller), C(result), C(live) (the release that is) and C(message). What
    is set later overrides what was set before, key by key.
  - The result is the one given. When a host has failed it is C(failed), unless C(returned) was given. A run that ends
    before it has given a result has C(failed), too.
  - To those keys the file adds C(failed) and C(unreachable) (error messages by host), C(left_out) (hosts that couldn't
    be reached, and those given under this name), C(playbook), C(inventory), C(started) and C(ended).
  - Of tasks with C(no_log) the message says no more than the task's name.
requirements:
  - enabled in the configuration
"""

LINE_LENGTH = 300


def one_line(text: str) -> str:
    """Return `text` with its lines joined, cut to what a person reads at a glance."""
    joined = " ".join(text.split())
    return joined if len(joined) <= LINE_LENGTH else f"{joined[: LINE_LENGTH - 1]}…"


def error_message(result: Any) -> str:
    """Return what a failed task's result says went wrong, nothing of it when the task hides its results."""
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
    """Return the verdict: what the run has given, put right by what happened to its hosts.

    `failed` and `unreachable` are error messages by host.
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


def write(path: pathlib.Path, verdict: dict[str, Any]) -> None:
    """Write `verdict` to `path` as JSON, whole or not at all, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o644)
            json.dump(verdict, file, ensure_ascii=False, indent=2)
            file.write("\n")
        pathlib.Path(part).replace(path)
    except BaseException:
        pathlib.Path(part).unlink(missing_ok=True)
        raise


def now() -> str:
    """Return the time, in ISO 8601, UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Collects errors while the run goes on, and concludes at its end."""

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
        self._playbook = pathlib.Path(playbook._file_name).name

    def v2_playbook_on_play_start(self, play: Any) -> None:  # noqa: ARG002
        self._errors_of_play = set()

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._note(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._note(result)

    def _note(self, result: Any) -> None:
        """Keep the first error a host has in a play: what it had in an earlier one, it has recovered from."""
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
                write(pathlib.Path(path).expanduser(), verdict)
            except OSError as error:
                self._display.warning(f"The verdict can't be written to {path}: {error}")
        self._display.display(f"flotilla: {verdict['result']}: {verdict['message']}")

    def _errors_of(self, hosts: dict[str, int]) -> dict[str, str]:
        """Return the error messages of `hosts`, in the order they came."""
        return {host: error for host, error in self._errors.items() if host in hosts}

"""Runs on the controller: shows a run as a person needs it, a line a step."""

from __future__ import annotations

import atexit
import functools
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ansible import constants, context
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as AnsiblesOwn
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.command_line import refused_options
from ansible_collections.flotilla.fleet.plugins.plugin_utils.output.lines import (
    INDENT,
    Change,
    Failure,
    about,
    change_lines,
    count_line,
    failure_notice,
    failure_summary,
    step_line,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.output.progress import Progress, Ticker
from ansible_collections.flotilla.fleet.plugins.plugin_utils.output.results import (
    changed_items,
    error_message,
    is_hidden,
    last_words,
)

DOCUMENTATION = r"""
name: steps
type: stdout
short_description: Show a run as a line a step, with what was changed and what failed
description:
  - A step is a play. Its line comes when it has ended, with the time it took, and then what it changed, by host. A step
    in which no host had anything to do has no line.
  - Says what runs on which host when that takes longer than five seconds. On a terminal the line is replaced each
    second; elsewhere the pauses between the lines grow.
  - Shows what tasks tell the user through C(ansible.builtin.debug), warnings, and with C(--diff) the differences.
  - A run in which a host failed ends with the host, the task, the task's own words and the fix.
  - With C(-v) the output is Ansible's own.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout_callback in the configuration
"""

BOOKKEEPING = frozenset({"add_host", "assert", "debug", "fail", "group_by", "meta", "set_fact", "set_stats"})
"""Modules that act on no machine. A step that ran no others has a line only if it took long or has something to say."""

LONG_STEP_SECONDS = 1.0

OWN_WORDS = frozenset({"assert", "fail"})
"""Modules whose messages are written in a playbook, like those of the collection's own modules."""

CLEAR_LINE = "\r\x1b[K"


def unless_verbose(hook: Callable[..., None]) -> Callable[..., None]:
    """Make Ansible's own callback take the place of `hook` where -v is given."""

    @functools.wraps(hook)
    def chosen(self: Any, *args: Any, **keywords: Any) -> None:
        if self._display.verbosity:
            getattr(AnsiblesOwn, hook.__name__)(self, *args, **keywords)
        else:
            hook(self, *args, **keywords)

    return chosen


def short_action(task: Any) -> str:
    """Return the name of a task's module, without its collection."""
    return str(task.action).rpartition(".")[2]


def short_name(task: Any, *, rendered: bool) -> str:
    """Return the name of a task, without the role's; without its templates, unless they are `rendered` rightly."""
    written = str((task.get_ds() or {}).get("name") or "")
    if "{{" in written and not rendered:
        return re.sub(r"(\W|\b(on|of|from)\b)*\{\{.*?\}\}", "", written)
    role = task._role
    name = str(task.get_name()).strip()
    return name.removeprefix(f"{role.get_name()} : ") if role else name


class CallbackModule(AnsiblesOwn):  # type: ignore[misc]  # Ansible has no types
    """Collects what happens in a step, and shows it."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "flotilla.fleet.steps"

    def __init__(self) -> None:
        super().__init__()
        self._terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._progress = Progress(every_tick=self._terminal)
        self._step = ""
        self._began = 0.0
        self._worked = self._titled = self._checking = False
        self._hosts: dict[str, set[str]] = defaultdict(set)
        self._changes: list[Change] = []
        self._failures: list[Failure] = []

    @unless_verbose
    def v2_playbook_on_start(self, playbook: Any) -> None:  # noqa: ARG002
        self._checking = bool(context.CLIARGS.get("check"))
        # A command may name several playbooks; each begins and ends by itself.
        self._ticker = Ticker(self._progress, self._say_progress)
        self._ticker.start()
        if refusal := refused_options(constants.DEFAULT_STRATEGY):
            # Ansible ends such a run by an error of its own, after which it asks no callback.
            atexit.register(self._show_refusal, refusal)

    @unless_verbose
    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._end_step()
        self._play = play
        self._step, self._began = play.get_name().strip(), time.monotonic()
        self._hosts.clear()

    @unless_verbose
    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None: ...

    @unless_verbose
    def v2_playbook_on_handler_task_start(self, task: Any) -> None: ...

    @unless_verbose
    def v2_playbook_on_include(self, included_file: Any) -> None: ...

    @unless_verbose
    def v2_playbook_on_no_hosts_matched(self) -> None: ...

    @unless_verbose
    def v2_playbook_on_no_hosts_remaining(self) -> None: ...

    @unless_verbose
    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._hosts[task._uuid].add(host.get_name())
        self._progress.begin(task._uuid, self._name(task), host.get_name())

    @unless_verbose
    def v2_runner_retry(self, result: Any) -> None:
        words = last_words(result.result)
        attempt = f"attempt {result.result.get('attempts')} of {result.result.get('retries')}"
        self._progress.note(result.task._uuid, words or attempt)

    @unless_verbose
    def v2_runner_on_ok(self, result: Any) -> None:
        self._end_task(result)
        if isinstance(result.task, TaskInclude):
            return
        self._show_warnings(result)
        action, changed = short_action(result.task), bool(result.result.get("changed"))
        self._worked = self._worked or action not in BOOKKEEPING
        if action == "debug" and not result.task.loop:
            self._show_message(result, changed=changed)
        elif changed:
            what = self._name(result.task) + changed_items(result.result)
            self._changes.append(Change(self._host(result), what))

    @unless_verbose
    def v2_runner_on_skipped(self, result: Any) -> None:
        self._end_task(result)

    @unless_verbose
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._end_task(result)
        self._show_warnings(result)
        self._worked = True
        self._fail(result, ignored=ignore_errors)

    @unless_verbose
    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._end_task(result)
        self._worked = True
        self._fail(result, unreachable=True, ignored=bool(result.task.ignore_unreachable))

    @unless_verbose
    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._show_warnings(result)
        if short_action(result.task) == "debug":
            label = "" if is_hidden(result.result) else f"{self._get_item_label(result.result)}:"
            self._show(f"{INDENT}{label}") if label else None
            self._show_message(result, changed=bool(result.result.get("changed")))

    @unless_verbose
    def v2_runner_item_on_failed(self, result: Any) -> None: ...

    @unless_verbose
    def v2_runner_item_on_skipped(self, result: Any) -> None: ...

    @unless_verbose
    def v2_on_file_diff(self, result: Any) -> None:
        parts = result.result.get("results") if result.task.loop else None
        for part in parts or [result.result]:
            if part.get("diff") and part.get("changed") and (diff := self._get_diff(part["diff"])):
                self._show(f"{INDENT}{self._host(result)}: {self._name(result.task)}")
                self._show(diff.rstrip("\n"))

    @unless_verbose
    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._ticker.stop()
        self._end_step()
        failed = [
            item
            for item in self._failures
            if item.host in (stats.dark if item.unreachable else stats.failures)
        ]
        # What ended the run comes first: a host that could not be reached is left out, and the run goes on.
        failed.sort(key=lambda failure: failure.unreachable)
        for line in failure_summary([about(failure, stats.processed) for failure in failed]):
            self._emit(line, constants.COLOR_ERROR)
        changed = {host: stats.changed[host] for host in sorted(stats.changed)}
        color = constants.COLOR_CHANGED if any(changed.values()) else constants.COLOR_OK
        self._emit(count_line(changed, checking=self._checking, failed=bool(failed)), color)

    def _show_refusal(self, words: str) -> None:
        """Show why preflight has refused the run's options; a playbook of somebody else's has begun a play."""
        if self._play is None:
            where = "the controller", "Check the inventory", "Check the options of the command line"
            for line in failure_summary([Failure(*where, words, own=True)]):
                self._emit(line, constants.COLOR_ERROR)

    def _end_task(self, result: Any) -> None:
        self._progress.end(result.task._uuid, result.host.get_name())

    def _end_step(self) -> None:
        """Show the line of the step that has ended, and what it changed."""
        seconds = time.monotonic() - self._began
        long = bool(self._step) and seconds >= LONG_STEP_SECONDS
        if not self._titled and (self._worked or self._changes or long):
            self._emit(step_line(self._step, seconds))
        for line in change_lines(self._changes, checking=self._checking):
            self._emit(line, constants.COLOR_CHANGED)
        if self._titled and long:
            self._emit(step_line(f"{INDENT}ended after", seconds))
        self._changes = []
        self._step, self._worked, self._titled = "", False, False

    def _fail(self, result: Any, *, unreachable: bool = False, ignored: bool = False) -> None:
        hidden = bool(result.task_fields.get("no_log"))
        task, action = self._name(result.task), str(result.task.action)
        failure = Failure(
            host=result.host.get_name(),
            step=self._step,
            task=task,
            words=error_message(result.result, task, hidden=hidden),
            unreachable=unreachable,
            hidden=hidden or is_hidden(result.result),
            own=action.startswith("flotilla.") or short_action(result.task) in OWN_WORDS,
        )
        color = constants.COLOR_WARN if ignored else constants.COLOR_ERROR
        for line in failure_notice(failure):
            self._show(line, color)
        if not ignored:
            self._failures.append(failure)

    def _show_message(self, result: Any, *, changed: bool) -> None:
        """Show what a task tells the user."""
        outcome = result.result
        if is_hidden(outcome):
            return
        self._clean_results(outcome, result.task.action)
        message = outcome.get("msg")
        if message is None:
            message = self._dump_results(outcome)
        lines = message if isinstance(message, list) else str(message).strip("\n").splitlines()
        if changed:  # in check mode, what would be done
            self._changes.append(Change(self._host(result), " ".join(map(str, lines)), said=True))
            return
        for line in lines:
            self._show(f"{INDENT}{line}")

    def _show_warnings(self, result: Any) -> None:
        if (
            result.result.get("warnings")
            or result.result.get("deprecations")
            or result.result.get("exception")
        ):
            self._clear()
            self._handle_warnings(result.result)

    def _name(self, task: Any) -> str:
        # Ansible renders a name once, for the first host, and would show its container's name for every host.
        return short_name(task, rendered=len(self._hosts[task._uuid]) < 2)

    def _host(self, result: Any) -> str:
        """Return the host of a result, and where else the task ran."""
        host, *elsewhere = self.host_label(result).split(" -> ")
        return f"{host} (on {elsewhere[0]})" if elsewhere else str(host)

    def _show(self, line: str, color: str | None = None) -> None:
        """Show a line under the title of the step, at once."""
        if not self._titled:
            self._titled = True
            self._emit(self._step)
        self._emit(line, color)

    def _emit(self, line: str, color: str | None = None) -> None:
        self._clear()
        self._display.display(line.rstrip(" "), color=color)

    def _clear(self) -> None:
        if self._terminal:
            self._display.display(CLEAR_LINE, screen_only=True, newline=False)

    def _say_progress(self, line: str) -> None:
        if not self._terminal:
            self._display.display(f"{INDENT}… {self._step}: {line}")
            sys.stdout.flush()
            return
        columns = os.get_terminal_size(sys.stdout.fileno()).columns or 80
        # The cursor goes back, so that any other line is written over this one.
        text = f"{self._step}: {line}"[: columns - 1]
        self._display.display(f"{CLEAR_LINE}{text}\r", screen_only=True, newline=False)
        sys.stdout.flush()

"""Runs on the controller: what the result of a task says of a change or a failure, without what the task hides.

A result is Ansible's: a mapping whose keys depend on the module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.flotilla.fleet.plugins.plugin_utils.output.lines import one_line

Result = Mapping[str, object]

LISTED_ITEMS = 4
"""How many items of a loop a change names."""

LONGEST_ITEM = 60


def is_hidden(result: Result) -> bool:
    """Tell whether a task hides its result."""
    return bool(result.get("_ansible_no_log")) or "censored" in result


def item_results(result: Result) -> list[Result]:
    """Return the results of a loop's items; none where the task has no loop."""
    results = result.get("results")
    if not isinstance(results, Sequence) or isinstance(results, str):
        return []
    return [item for item in results if isinstance(item, Mapping)]


def error_message(result: Result, task: str, *, hidden: bool) -> str:
    """Return the error message in the result of the failed task `task`, or only its name when it hides its result."""
    failed = [item for item in item_results(result) if _has_failed(item)]
    found = failed[0] if failed else result
    if hidden or is_hidden(result) or is_hidden(found):
        return f"the task “{task}” failed; its result is hidden (no_log)"
    message = str(found.get("msg") or found.get("reason") or f"the task “{task}” failed").strip()
    stderr = str(found.get("stderr") or "").strip()
    return f"{message.rstrip('.')}: {stderr.splitlines()[-1]}" if stderr else message


def _has_failed(item: Result) -> bool:
    """Tell whether an item of a loop has failed: ansible-core 2.21 marks one by its exception alone."""
    return any(item.get(mark) for mark in ("failed", "unreachable", "exception"))


def changed_items(result: Result) -> str:
    """Return the labels of a loop's items that were changed, in brackets; empty where the task hides or has none."""
    labels = []
    for item in item_results(result):
        label = item.get("_ansible_item_label", item.get("item"))
        if not item.get("changed"):
            continue
        if is_hidden(item) or not isinstance(label, (str, int)) or len(str(label)) > LONGEST_ITEM:
            return ""
        labels.append(one_line(str(label)))
    if not labels or is_hidden(result):
        return ""
    more = f" and {len(labels) - LISTED_ITEMS} more" if len(labels) > LISTED_ITEMS else ""
    return f" ({', '.join(labels[:LISTED_ITEMS])}{more})"


def last_words(result: Result) -> str:
    """Return the last line that a task has said so far; of an image's build, the step that it has reached."""
    said = "" if is_hidden(result) else str(result.get("stdout") or result.get("msg") or "").strip()
    lines = said.splitlines()
    steps = [line for line in lines if line.startswith("Step ")]
    return one_line((steps or lines)[-1]) if lines else ""

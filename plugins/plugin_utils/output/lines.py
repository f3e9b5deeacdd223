"""Runs on the controller: the lines in which a run says what it did, for a person to read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.report import listed

TITLE_WIDTH = 68
"""Where the column of the times begins."""

INDENT = "  "

COUNTED_HOSTS = 12
"""How many hosts the count of changes names before it says "and N more"."""

LONGEST_LINE = 300


@dataclass(frozen=True)
class Change:
    """What a task changed on a host, or would change in check mode."""

    host: str
    what: str
    said: bool = False
    """Whether `what` is the task's own message, and not its name."""


@dataclass(frozen=True)
class Failure:
    """A task that failed on a host, or a host that could not be reached."""

    host: str
    step: str
    task: str
    words: str
    """What the task said of its failure."""
    unreachable: bool = False
    hidden: bool = False
    """Whether the task hides its result (no_log)."""
    own: bool = False
    """Whether the words are the project's own, which name the fix."""


def one_line(text: str, longest: int = LONGEST_LINE) -> str:
    """Return `text` on one line, cut to `longest` characters."""
    joined = " ".join(text.split())
    return joined if len(joined) <= longest else f"{joined[: longest - 1]}…"


def about(failure: Failure, hosts: Container[str]) -> Failure:
    """Return a failure of the host that its words begin with, where one host speaks for all, as at the end of a run."""
    named, colon, words = failure.words.partition(": ")
    return replace(failure, host=named, words=words) if colon and failure.own and named in hosts else failure


def duration(seconds: float) -> str:
    """Return a time that passed, for a person."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def step_line(title: str, seconds: float) -> str:
    """Return the line of a step that has ended."""
    return f"{title:<{TITLE_WIDTH}} {duration(seconds):>9}"


def change_lines(changes: Sequence[Change], *, checking: bool) -> list[str]:
    """Return what was changed, or in check mode would be, on each host. Hosts with the same changes share a line."""
    by_host: dict[str, list[str]] = defaultdict(list)
    for change in changes:
        what = change.what if change.said or not checking else _as_infinitive(change.what)
        by_host[change.host].append(what)
    hosts: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for host, done in sorted(by_host.items()):
        hosts[tuple(_counted(done))].append(host)
    would = " would" if checking else ""
    lines = []
    for done_by, names in hosts.items():
        said = {change.what for change in changes if change.said}
        does = "" if said.issuperset(done_by) else would
        lines.append(f"{INDENT}{listed(names)}{does}: {'; '.join(done_by)}")
    return lines


def _as_infinitive(task: str) -> str:
    """Return the name of a task, an imperative, as it goes on after "would"."""
    return task if task[1:2].isupper() else task[:1].lower() + task[1:]


def _counted(done: Sequence[str]) -> list[str]:
    """Return each of `done` once, with the number of times where it was done more often."""
    counts: dict[str, int] = defaultdict(int)
    for what in done:
        counts[what] += 1
    return [what if times == 1 else f"{what} ({times} times)" for what, times in counts.items()]


def count_line(changed: Mapping[str, int], *, checking: bool, failed: bool = False) -> str:
    """Return how much was changed, or would be, by host. A check that `failed` has not looked at everything."""
    found = [f"{host} {count}" for host, count in changed.items() if count]
    if not found:
        if checking:
            return "what would change was not looked at" if failed else "nothing would change"
        return "nothing changed"
    rest = f" and {len(found) - COUNTED_HOSTS} hosts more" if len(found) > COUNTED_HOSTS else ""
    return f"{'would change' if checking else 'changed'}: {', '.join(found[:COUNTED_HOSTS])}{rest}"


def failure_notice(failure: Failure) -> list[str]:
    """Return what is said of a failure when it happens, all of its words included."""
    first, *rest = failure.words.splitlines() or [""]
    what = "can't be reached" if failure.unreachable else f"failed: {failure.task}"
    return [f"{INDENT}{failure.host} {what}: {first}", *(f"{INDENT * 2}{line}" for line in rest)]


def failure_summary(failures: Sequence[Failure]) -> list[str]:
    """Return what went wrong in a run: three lines on the first failure, and before them which hosts failed besides."""
    if not failures:
        return []
    first = failures[0]
    others = list(dict.fromkeys(failure.host for failure in failures if failure.host != first.host))
    lines = [f"failed besides: {listed(others)}"] if others else []
    what = "can't be reached" if first.unreachable else f"failed at “{first.task}”"
    return [
        *lines,
        f"{first.host} {what}, in the step “{first.step}”",
        f"{INDENT}{one_line(first.words)}",
        f"{INDENT}fix: {fix(first)}",
    ]


def fix(failure: Failure) -> str:
    """Return what to do about a failure."""
    words = failure.words.lower()
    if "sudo password" in words or "password is required" in words:
        return "give sudo's password with --ask-become-pass, or set ansible_become_password, best from ansible-vault"
    if failure.unreachable:
        return (
            f"see that {failure.host} is on, that its ansible_host is right and that you can log in there by SSH; "
            "then run this again"
        )
    if failure.hidden:
        return f"look into the logs of {failure.host}: what the task says may hold a secret, so it is shown nowhere"
    if failure.own:
        return "do what the line above says, and run this again"
    return "run this again with -v, which shows all that the task returned"

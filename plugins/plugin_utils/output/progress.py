"""Runs on the controller: says what a run is doing, while that takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.report import listed

FIRST_SECONDS = 5.0
"""After how many seconds of a task its first line comes."""

LONGEST_PAUSE = 60.0
"""The most seconds between two lines; the pauses double until then."""

TICK_SECONDS = 1.0

Clock = Callable[[], float]


@dataclass
class _Task:
    """A task that runs, with the hosts that it still runs on."""

    name: str
    began: float
    hosts: list[str] = field(default_factory=list)
    note: str = ""
    """What was said of the task last."""
    said: float = 0.0
    """How many seconds after its beginning the task's last line came."""


class Progress:
    """Knows which task runs on which hosts, and when to say so."""

    def __init__(self, *, every_tick: bool, clock: Clock = time.monotonic) -> None:
        """Make a Progress. `every_tick` is for a terminal, where each line replaces the one before."""
        self._clock = clock
        self._every_tick = every_tick
        self._lock = threading.Lock()
        self._tasks: dict[str, _Task] = {}

    def begin(self, task: str, name: str, host: str) -> None:
        """Note that the task with the id `task` begins on `host`."""
        with self._lock:
            running = self._tasks.setdefault(task, _Task(name, self._clock()))
            running.hosts.append(host)

    def note(self, task: str, note: str) -> None:
        """Note what a task that still runs has said."""
        with self._lock:
            if task in self._tasks:
                self._tasks[task].note = note

    def end(self, task: str, host: str) -> None:
        """Note that a task has ended on `host`."""
        with self._lock:
            running = self._tasks.get(task)
            if running and host in running.hosts:
                running.hosts.remove(host)
            if running and not running.hosts:
                del self._tasks[task]

    def line(self) -> str:
        """Return what to say now of the task that has run longest, or an empty text."""
        with self._lock:
            task = next(iter(self._tasks.values()), None)
            if task is None:
                return ""
            seconds = self._clock() - task.began
            pause = min(max(task.said, FIRST_SECONDS), LONGEST_PAUSE)
            if seconds < FIRST_SECONDS or (not self._every_tick and seconds < task.said + pause):
                return ""
            task.said = seconds
            note = f": {task.note}" if task.note else ""
            return f"{listed(task.hosts)}: {task.name}{note} ({seconds:.0f} s)"


class Ticker:
    """Calls `say` with the line of a Progress, in a thread of its own, until it is stopped."""

    def __init__(self, progress: Progress, say: Callable[[str], None]) -> None:
        self._progress = progress
        self._say = say
        self._stopped = threading.Event()
        # A daemon: a run that ends by an error does not stop its ticker.
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(TICK_SECONDS):
            if line := self._progress.line():
                self._say(line)

"""Runs on the controller: a process beside the run gives a deploy lock its signs of life, and frees it in the end.

One such process, a keeper, belongs to each deploy lock that the run holds. It is no child of the run, so it outlives
the run however that ends, and frees the lock then. If the keeper dies as well, its load balancer gets no further sign
of life, and another run may take the lock over.

The run and its keepers meet in Ansible's temporary folder on the controller, which every process of a run shares:

- `deploy_lock-run`, on which the run's process holds a POSIX lock. The kernel ends such a lock with the process, even
  before another process has read its exit code, and forked processes do not inherit it.
- `deploy_lock-held-HOST` for each lock that the run holds. A keeper ends when its file is removed.
- `deploy_lock-lost`, a message, when another run has taken a lock over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shlex
import signal
import time
from collections.abc import Callable
from typing import IO

from ansible_collections.flotilla.fleet.plugins.module_utils.lock_metrics import (
    FOLDER_NAME,
    LOCK_FILE,
    RUN_FILE,
    lock_metrics,
    run_metrics,
)

BEAT_SECONDS = 10.0
SILENT_SECONDS = 30.0
"""After so long without a sign of life, a run is watched: three signs are missing."""
WATCH_SECONDS = 20.0
"""If it gives none in so long either, it is dead. Its load balancer may just have become reachable for it again."""
POLL_SECONDS = 0.25
RELEASE_SECONDS = 60.0
"""How long a keeper tries to free a lock; by then other runs take it over."""
INTERRUPT_SECONDS = 10.0
"""How long a run has to end when it is interrupted, before it is ended."""

LOST = 3
"""The exit code of `beat_command` where another run holds the lock."""

NOW = "@NOW@"
"""Stands for the time, which is known where a command runs."""

Execute = Callable[[str], int]
"""Runs a command of the shell on a load balancer as root and returns its exit code."""


def beat_command(directory: str, run: str) -> str:
    """Return the command that gives `directory` a sign of life of `run`: the uptime, which no clock's change moves."""
    return _locked_command(
        directory,
        f"if grep --quiet --fixed-strings {shlex.quote(run)} lock.json; then"
        " read -r uptime rest </proc/uptime"
        f' && printf "%s %s\\n" {shlex.quote(run)} "$uptime" >lock.beat.new && mv lock.beat.new lock.beat;'
        f" elif test -e lock.json; then exit {LOST}; fi",
    )


def release_command(directory: str, run: str, audit: str, playbook: str = "", operator: str = "") -> str:
    """Return the command that frees the lock in `directory` if `run` holds it, and appends `audit` to the log then.

    Where metrics are collected, it writes those of the lock, and of the run: `playbook` by `operator`, which has died.
    """
    died = run_metrics(NOW, playbook, operator, "died", failed=True)
    return _locked_command(
        directory,
        f"if grep --quiet --fixed-strings {shlex.quote(run)} lock.json; then"
        f' printf "%s\\n" {shlex.quote(audit)} >>audit.jsonl; rm -f lock.json lock.beat;'
        f" if cd {FOLDER_NAME} 2>/dev/null; then {_write(LOCK_FILE, lock_metrics(0, NOW))}"
        f" {_write(RUN_FILE, died)} fi; fi",
    )


def _write(file: str, text: str) -> str:
    """Return the part of a command that writes `text`, with the time where it says NOW, to `file` as a whole."""
    return (
        f'printf "%s" {shlex.quote(text)} | sed "s/{NOW}/$(date +%s)/" >{file}.new && mv {file}.new {file};'
    )


def _locked_command(directory: str, script: str) -> str:
    """Return the command that runs `script` in `directory` while no other process works there (folder_lock.py)."""
    folder = shlex.quote(directory)
    return f"cd {folder} 2>/dev/null || exit 0; flock . sh -c {shlex.quote(script)} 2>/dev/null"


class Presence:
    """What the processes of one run know of each other; `folder` is Ansible's temporary folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._run = folder / "deploy_lock-run"
        self.lost = folder / "deploy_lock-lost"

    def begin(self) -> IO[str]:
        """Say that the calling process is the run. It must keep the result, and never open the file again.

        Raises:
            OSError: when the file system has no such locks.
        """
        file = self._run.open("w", encoding="utf-8")
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    def begun(self) -> bool:
        """Tell whether the run has said so."""
        return self._run.exists()

    def mark(self, host: str) -> pathlib.Path:
        """Return the file that is there while the run holds the lock of `host`."""
        return self.folder / f"deploy_lock-held-{host}"

    def held(self) -> list[str]:
        """Return the hosts whose locks the run holds."""
        return sorted(
            path.name.removeprefix("deploy_lock-held-") for path in self.folder.glob("deploy_lock-held-*")
        )

    def watch(self) -> Callable[[], bool]:
        """Return what tells whether the run still lives. Call it in another process than the run's."""
        file = self._run.open(encoding="utf-8")

        def lives() -> bool:
            try:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
            fcntl.lockf(file, fcntl.LOCK_UN)
            return False

        return lives


def keep(presence: Presence, host: str, execute: Execute, beat: str, release: str) -> bool:
    """Give `host` signs of life until the run has ended, or has released the lock itself.

    Returns:
        Whether the lock is still the run's, or was until the run released it: false when another run has it.
    """
    mark, lives, next_beat = presence.mark(host), presence.watch(), 0.0
    while lives():
        if _removed(mark):
            return True
        if time.monotonic() >= next_beat:
            next_beat = time.monotonic() + BEAT_SECONDS
            if _attempt(execute, beat) == LOST:
                return False
        time.sleep(POLL_SECONDS)
    deadline = time.monotonic() + RELEASE_SECONDS
    while not _removed(mark) and _attempt(execute, release) != 0 and time.monotonic() < deadline:
        time.sleep(1)
    mark.unlink(missing_ok=True)
    return True


def _removed(mark: pathlib.Path) -> bool:
    """Tell whether the run has released the lock itself. The whole folder is removed at the run's end."""
    return mark.parent.exists() and not mark.exists()


def _attempt(execute: Execute, command: str) -> int:
    """Return the command's exit code, 255 where the load balancer can't be reached."""
    try:
        return execute(command)
    except Exception:  # Ansible's connections raise errors of many kinds
        return 255


def _end(presence: Presence, run: int) -> None:
    """Interrupt the run, and end it where interrupts are ignored, as in the background of a shell's script."""
    lives, deadline = presence.watch(), time.monotonic() + INTERRUPT_SECONDS
    os.kill(run, signal.SIGINT)
    while lives():
        if time.monotonic() > deadline:
            os.kill(run, signal.SIGTERM)
            return
        time.sleep(POLL_SECONDS)


def start(presence: Presence, host: str, run: int, keeper: Callable[[], bool], lost: str) -> None:
    """Run `keeper` in a process of its own, that no process of the run waits for, unless `host` has one.

    If another run takes the lock over, the run (process `run`) is interrupted: two runs would work at once.
    """
    mark = presence.mark(host)
    if mark.exists():
        return
    mark.touch()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        if os.fork() == 0:
            # They are for the run, whose workers pass them on to all that they have started.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            if not keeper():
                with contextlib.suppress(OSError):
                    presence.lost.write_text(lost, encoding="utf-8")
                    mark.unlink(missing_ok=True)
                    _end(presence, run)
    finally:
        os._exit(0)

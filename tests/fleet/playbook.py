"""Runs of the project's playbooks, and what they say they changed."""

import os
import re
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).parents[2]
MARK = "FLOTILLA_TEST_RUN"
"""The variable in the environment of a run's processes that tells whose they are."""
PLAY, TASK = "PLAY [", "TASK ["
ANSIBLES_OUTPUT = {
    "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_FORCE_COLOR": "0",
}
"""What makes a run write what is read here: each play and task as it begins, and the recap."""
OWN_OUTPUT = {**ANSIBLES_OUTPUT, "ANSIBLE_STDOUT_CALLBACK": "flotilla.fleet.steps"}
"""What makes a run write what a user sees."""
RECAP_LINE = re.compile(r"^(?P<host>\S+)\s*: ok=\d+\s+changed=(?P<changed>\d+)", re.MULTILINE)


def changes(output: str) -> dict[str, int]:
    """Return the number of changed tasks of each host in a run's recap."""
    return {line["host"]: int(line["changed"]) for line in RECAP_LINE.finditer(output)}


def descendants(process: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    listing = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], check=True, capture_output=True, text=True)
    pairs = [tuple(map(int, line.split())) for line in listing.stdout.splitlines()]
    found = [process]
    for parent in found:  # grows as it is read
        found += [child for child, its_parent in pairs if its_parent == parent]
    return found[1:]


class Run:
    """A playbook that is running."""

    def __init__(
        self, playbook: str, inventory: Path, *arguments: str, output: Mapping[str, str] = ANSIBLES_OUTPUT
    ) -> None:
        self.started = time.time()
        self._mark = uuid.uuid4().hex
        self._process = subprocess.Popen(
            ["ansible-playbook", "--inventory", str(inventory), *arguments, playbook],
            cwd=PROJECT,
            env={**os.environ, **output, MARK: self._mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._ended = False
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """All that the run has written by now."""
        return "".join(self._lines)

    def wait_for(self, words: str, timeout_seconds: float = 300, times: int = 1) -> None:
        """Return once the run has written so many lines with these words, or fail when it ended without."""
        with self._heard:
            self._heard.wait_for(lambda: self._said(words, times) or self._ended, timeout_seconds)
            assert self._said(words, times), f"the run did not say {words!r}:\n{self.output[-6000:]}"

    @property
    def play(self) -> str:
        """The name of the play that began last."""
        began = [line for line in self._lines if line.startswith(PLAY)]
        return began[-1].removeprefix(PLAY).partition("]")[0] if began else ""

    def wait_for_play(self, play: str, timeout_seconds: float = 300, times: int = 1) -> None:
        """Return once a play has begun for the given time, or fail when the run ended without it."""
        self.wait_for(f"{PLAY}{play}]", timeout_seconds, times)

    def wait_for_task_of(self, play: str, timeout_seconds: float = 300) -> None:
        """Return once the first task of a play has begun, or fail when the run ended without it."""
        self.wait_for_play(play, timeout_seconds)
        with self._heard:
            self._heard.wait_for(lambda: self._has_task_of(play) or self._ended, timeout_seconds)
            assert self._has_task_of(play), f"no task of the play {play!r} began:\n{self.output[-6000:]}"

    def kill(self) -> None:
        """Kill the run and all processes that work for it, in the middle of what they do.

        Those that keep its locks live on, and free them.

        Fails when the run was over before.
        """
        # Ansible's workers lead sessions of their own, so to kill the process group would not do.
        victims = [self._process.pid, *descendants(self._process.pid)]
        for victim in victims:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
        code = self._process.wait()
        self._reader.join(timeout=10)
        assert code == -signal.SIGKILL, f"the run had ended with code {code}:\n{self.output[-6000:]}"

    def cut_power(self) -> None:
        """Kill the run as a power cut of the controller would: with every process that it has ever started."""
        mark = f"{MARK}={self._mark}".encode()
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in environment.read_bytes().split(b"\0"):
                    os.kill(int(environment.parent.name), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended, or belongs to somebody else
        assert self._process.wait() == -signal.SIGKILL, self.output[-6000:]

    def finish(self) -> int:
        """Wait until the run is over and return its exit code."""
        code = self._process.wait()
        self._reader.join(timeout=10)
        return code

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._heard:
                self._lines.append(line)
                self._heard.notify_all()
        with self._heard:
            self._ended = True
            self._heard.notify_all()

    def _has_task_of(self, play: str) -> bool:
        after = "".join(self._lines).partition(f"{PLAY}{play}]")[2]
        return TASK in after

    def _said(self, words: str, times: int) -> bool:
        return sum(words in line for line in self._lines) >= times


def attempt_playbook(
    playbook: str, inventory: Path, *arguments: str, output: Mapping[str, str] = ANSIBLES_OUTPUT
) -> tuple[int, str]:
    """Run a playbook and return its exit code and all that it wrote."""
    run = Run(playbook, inventory, *arguments, output=output)
    return run.finish(), run.output


def run_playbook(playbook: str, inventory: Path, *arguments: str) -> dict[str, int]:
    """Run a playbook that must succeed and return the number of changed tasks of each host it touched."""
    code, output = attempt_playbook(playbook, inventory, *arguments)
    assert code == 0, f"{playbook} {' '.join(arguments)} failed:\n{output[-6000:]}"
    return changes(output)


def refusal(playbook: str, inventory: Path, *arguments: str) -> str:
    """Run a playbook that must fail and return what it wrote, on one line."""
    code, output = attempt_playbook(playbook, inventory, *arguments)
    assert code != 0, f"{playbook} {' '.join(arguments)} should have failed:\n{output[-6000:]}"
    return " ".join(output.split())

"""A node waits for its endpoint as long as waiting may help, and says why it gives up."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.modules.endpoint_ready import (
    CHECKS,
    WRONG_OR_SLOW,
    last_lines,
    why_not,
)

from model_endpoint.runtime import golden_check

Result = tuple[int, str, str]
PASSED: Result = (0, "", "")
REFUSED: Result = (1, "", "not ready: [Errno 111] Connection refused\n")
SLOW: Result = (3, "", "warning: of a library\niris: golden request 0: took 0.81 s, 0.50 s are allowed\n")
RUNNING: Result = (0, "running 0 0\n", "")


class Machine:
    """Stands in for run_command: answers the gate and the engine's questions in turn, the last for ever."""

    def __init__(self, gate: list[Result], inspect: list[Result]) -> None:
        self.gate = gate
        self.inspect = inspect
        self.asked: list[list[str]] = []

    def run(self, command: list[str]) -> Result:
        self.asked.append(command)
        answers = self.gate if "exec" in command else self.inspect
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def why_not(self, timeout: int = 30) -> str:
        return why_not(self.run, "flotilla-node1-blue", timeout, 0.5)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which passes only when the module sleeps."""
    now = [0.0]
    clock = SimpleNamespace(
        monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds)
    )
    monkeypatch.setattr("ansible_collections.flotilla.fleet.plugins.modules.endpoint_ready.time", clock)
    return now


def test_an_endpoint_that_passes_costs_one_command() -> None:
    machine = Machine([PASSED], [])
    assert machine.why_not() == ""
    gate = [
        "docker",
        "exec",
        "flotilla-node1-blue",
        "python3",
        "-m",
        "model_endpoint.runtime.golden_check",
        "--seconds",
        "0.5",
    ]
    assert machine.asked == [["timeout", "--signal=KILL", "30.0", *gate]]


def test_an_endpoint_of_an_older_image_is_asked_by_the_former_name_at_once(now: list[float]) -> None:
    missing = (
        1,
        "",
        "/usr/bin/python3: Error while finding module specification for "
        f"'{CHECKS[0]}' (ModuleNotFoundError: No module named 'model_endpoint.runtime')\n",
    )
    machine = Machine([missing, REFUSED, PASSED], [RUNNING])
    assert machine.why_not() == ""
    assert [command[8] for command in machine.asked if "exec" in command] == [CHECKS[0], CHECKS[1], CHECKS[1]]
    assert now[0] == pytest.approx(0.2)


def test_the_exit_code_and_the_name_of_the_golden_check_are_the_endpoint_s() -> None:
    assert golden_check.WRONG_OR_SLOW == WRONG_OR_SLOW
    assert golden_check.__name__ == CHECKS[0]


def test_it_is_asked_again_until_it_is_ready(now: list[float]) -> None:
    machine = Machine([REFUSED, REFUSED, PASSED], [RUNNING])
    assert machine.why_not() == ""
    assert now[0] == pytest.approx(0.4)


def test_a_wrong_or_slow_answer_ends_the_wait(now: list[float]) -> None:
    assert (
        Machine([REFUSED, SLOW], [RUNNING]).why_not()
        == "iris: golden request 0: took 0.81 s, 0.50 s are allowed"
    )
    assert now[0] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("inspect", "reason"),
    [
        ((0, "exited 1 0\n", ""), "the container ended with exit code 1"),
        ((0, "dead 137 0\n", ""), "the container ended with exit code 137"),
        ((0, "restarting 1 3\n", ""), "the container has restarted 3 times"),
        (
            (1, "\n", "Error: No such container: flotilla-node1-blue\n"),
            "there is no container flotilla-node1-blue",
        ),
    ],
)
def test_a_container_that_will_not_get_ready_ends_the_wait(
    inspect: Result, reason: str, now: list[float]
) -> None:
    assert Machine([REFUSED], [RUNNING, inspect]).why_not() == reason
    assert now[0] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("gate", "inspect", "reason"),
    [
        (REFUSED, RUNNING, "not ready: [Errno 111] Connection refused"),
        (REFUSED, (0, "restarting 1 2\n", ""), "not ready: [Errno 111] Connection refused"),
        ((-9, "", ""), (124, "", ""), "it did not finish proving itself"),
        (
            (1, "", "Cannot connect to the Docker daemon\n"),
            (1, "", "Cannot connect\n"),
            "Cannot connect to the Docker daemon",
        ),
    ],
)
def test_the_wait_is_bounded(gate: Result, inspect: Result, reason: str, now: list[float]) -> None:
    assert Machine([gate], [inspect]).why_not(5) == f"not ready within 5 s; last of all: {reason}"
    assert now[0] == pytest.approx(5.0)


def test_the_last_log_lines_are_in_the_order_they_were_written() -> None:
    def run(command: list[str]) -> Result:
        assert command[-4:] == ["--timestamps", "--tail", "4", "node"]
        at = "2025-01-01T00:00:0{}.000000000Z ".format
        return 0, f"{at(1)}first\n{at(3)}third line\n", f"{at(2)}second\u2028\n{at(4)}{'x' * 9999}\n"

    assert last_lines(run, "node", 4) == ["first", "second\u2028", "third line", "x" * 300]
    assert last_lines(lambda command: (1, "", "Error: No such container\n"), "node", 4) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeout": 0}, "timeout is 0"),
        ({"log_lines": -1}, "log_lines is -1"),
        ({"answer_seconds": 0}, "answer_seconds is 0"),
        ({"answer_seconds": "nan"}, "answer_seconds is nan"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, Any], message: str, run_module: Callable[..., dict[str, Any]]
) -> None:
    result = run_module(
        "endpoint_ready", **({"container": "node", "timeout": 1, "answer_seconds": 0.5} | arguments)
    )
    assert result["failed"]
    assert message in result["msg"]

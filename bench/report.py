"""What the benchmarks have in common around their measurements: options, goals, medians and files of results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NoReturn

from containers import docker

RESULTS = Path(__file__).resolve().parent / "results"
# Measured values of one run.
Figures = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """A goal that was set before the runs, and the value that was reached."""

    text: str
    value: float
    bound: Literal["at_most", "at_least"]
    limit: float

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.bound == "at_most" else self.value >= self.limit

    def row(self) -> Figures:
        """Return the goal as the file of results has it."""
        return {"goal": self.text, "value": round(self.value, 3), self.bound: self.limit, "met": self.met}

    def line(self) -> str:
        """Return the goal as the terminal shows it."""
        bound = self.bound.replace("_", " ")
        return f"{self.text}: {self.value:.2f}, {bound} {self.limit}: {verdict(self.met)}"


def verdict(met: bool) -> str:
    return "met" if met else "NOT met"


def say(words: str) -> None:
    """Tell the progress, on standard error."""
    print(words, file=sys.stderr, flush=True)


def option_parser(description: str | None, rounds: int, rounds_help: str = "") -> argparse.ArgumentParser:
    """Return a parser of a benchmark's options, with the one that all have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds, help=rounds_help)
    return parser


def exit_code(benchmark: Callable[[], None], removed: str) -> int:
    """Run a benchmark and return the program's exit code.

    SIGTERM ends the benchmark as Ctrl-C does, so that what it made, named by `removed`, is removed.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        benchmark()
    except RuntimeError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say(f"interrupted; {removed}")
        return 130
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def medians(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median over the samples of each figure that they have."""
    return {key: round(statistics.median(sample[key] for sample in samples), 6) for key in samples[0]}


def machine_facts(load_average_before: tuple[float, float, float]) -> Figures:
    """Return what a reader has to know of the machine that measured with Ansible and Docker."""
    return {
        "python": platform.python_version(),
        "ansible_core": metadata.version("ansible-core"),
        "docker": docker("version", "--format", "{{.Server.Version}}").strip(),
        "cpus": os.cpu_count(),
        "load_average_before": load_average_before,
    }


def write_results(name: str, outcome: Figures, chart: str = "") -> None:
    """Write a benchmark's outcome, and its chart if it has one."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(outcome, indent=1) + "\n")
    if chart:
        (RESULTS / f"{name}.svg").write_text(chart)

"""Compare deployments by Flotilla with those by a plain playbook: `make bench-deploy`.

Both deploy the same endpoint behind Nginx to machines of their own, which are containers of this machine's engine,
reached over SSH. Fleets of 3 and of 10 nodes go through the same life: from bare machines to answers, runs with nothing
to do, a retrained model, changed code, back to the release before, one more node. Each step is taken by one contestant
and then by the other, whose machines rest meanwhile, and after each all nodes have to answer with the right release.
The figure is the time a run takes, in seconds. Results go to bench/results/deploy.json and deploy.svg.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from deploy_contestants import OURS, PLAIN, Contestant, Flotilla, Plain, make_sources
from deploy_report import (
    ADD,
    CODE,
    COLD,
    LARGE,
    MODEL,
    NO_OP,
    ROLLBACK,
    SMALL,
    STEPS,
    Fleets,
    Steps,
    chart,
    goals,
    table,
)
from hosts import Host, machines
from report import Figures, exit_code, machine_facts, option_parser, say, write_results

PREDICTION = {"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}
RIGHT = ["setosa"]


def answers(contestant: Contestant) -> tuple[set[str], set[str]]:
    """Return which endpoints and which releases answer predictions sent through the load balancer."""
    endpoints, releases = set(), set()
    url = f"http://{contestant.balancer.address}/predict"
    headers = {"Content-Type": "application/json"}
    for _ in range(4 * len(contestant.nodes)):
        request = urllib.request.Request(url, json.dumps(PREDICTION).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            if json.load(answer)["predictions"] != RIGHT:
                raise RuntimeError(f"{contestant.name}: a wrong answer from {answer.headers['X-Endpoint']}")
            endpoints.add(answer.headers["X-Endpoint"])
            releases.add(answer.headers["X-Release"])
    return endpoints, releases


def release_everywhere(contestant: Contestant, timeout_seconds: float = 60) -> str:
    """Wait until all nodes answer, with one release, and return it.

    Raises RuntimeError when they don't within the time: the run that was measured did not do its work.
    """
    wanted = {node.name for node in contestant.nodes}
    deadline = time.monotonic() + timeout_seconds
    seen: object = None
    while time.monotonic() < deadline:
        try:
            seen = endpoints, releases = answers(contestant)
        except OSError as error:
            seen = error
        else:
            if endpoints == wanted and len(releases) == 1:
                return releases.pop()
        time.sleep(0.5)
    raise RuntimeError(f"{contestant.name}: not all of {sorted(wanted)} answer with one release: {seen}")


def each(hosts: Sequence[Host], action: Callable[[Host], Any]) -> list[Any]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(action, hosts))


@contextlib.contextmanager
def resting(contestant: Contestant) -> Iterator[None]:
    """Keep a contestant's machines from taking time from the other's: their engines check nothing for a while."""
    each(contestant.hosts, lambda host: host.signal_engine("STOP"))
    try:
        yield
    finally:
        each(contestant.hosts, lambda host: host.signal_engine("CONT"))


class Race:
    """Two contestants with as many nodes each, and what was measured of them so far: figures[step][contestant]."""

    def __init__(self, ours: Flotilla, plain: Plain, folder: Path) -> None:
        self.ours, self.plain = ours, plain
        self.figures: Steps = {step: {} for step in STEPS}
        self._folder = folder

    def run(self, rounds: int) -> None:
        """Go through all steps, the no-op run `rounds` times."""
        first = self._release(COLD, "first")
        self._no_op(rounds, first)
        retrained = self._release(MODEL, "model")
        recoded = self._release(CODE, "code")
        self._both(ROLLBACK, lambda contestant: contestant.roll_back("model"), retrained)
        for contestant in (self.ours, self.plain):
            contestant.add_node()
        self._both(ADD, lambda contestant: contestant.deploy("model"), retrained)
        for name in (OURS, PLAIN):
            if len({first[name], retrained[name], recoded[name]}) != 3:
                raise RuntimeError(f"{name}: two of the three versions were one release")

    def _release(self, step: str, version: str) -> dict[str, str]:
        """Deploy a version by both and return the releases that they made of it."""
        ours = self._take(self.ours, step, lambda contestant: contestant.deploy(version))
        self.plain.images[version] = self._save_image()
        plain = self._take(self.plain, step, lambda contestant: contestant.deploy(version))
        return {OURS: ours, PLAIN: plain}

    def _no_op(self, rounds: int, releases: dict[str, str]) -> None:
        taken: dict[str, list[Figures]] = {OURS: [], PLAIN: []}
        for _ in range(rounds):
            self._both(NO_OP, lambda contestant: contestant.deploy("first"), releases)
            for name, runs in taken.items():
                runs.append(self.figures[NO_OP][name])
                if runs[-1]["changed"]:
                    raise RuntimeError(f"{name}: a run with nothing to do changed something")
        for name, runs in taken.items():
            samples = sorted(runs, key=lambda run: float(run["seconds"]))
            median = statistics.median(run["seconds"] for run in samples)
            middle = samples[len(samples) // 2]
            self.figures[NO_OP][name] = {
                **middle,
                "seconds": median,
                "samples": [run["seconds"] for run in runs],
            }

    def _both(self, step: str, action: Callable[[Contestant], Figures], releases: dict[str, str]) -> None:
        """Have both take a step after which they are to answer with these releases."""
        for contestant in (self.ours, self.plain):
            release = self._take(contestant, step, action)
            if release != releases[contestant.name]:
                raise RuntimeError(
                    f"{contestant.name}: {step}: {release} answers instead of {releases[contestant.name]}"
                )

    def _take(self, contestant: Contestant, step: str, action: Callable[[Contestant], Figures]) -> str:
        """Have one contestant take a step, note its figures, and return the release that answers then."""
        other = self.plain if contestant is self.ours else self.ours
        with resting(other):
            time.sleep(3)  # what the other contestant's engines still had to do
            before = each(contestant.nodes, Host.received_bytes)
            figures = action(contestant)
            after = each(contestant.nodes, Host.received_bytes)
            release = release_everywhere(contestant)
        received = [end - start for start, end in zip(before, after, strict=True)]
        figures |= {"received_bytes": {"median": int(statistics.median(received)), "most": max(received)}}
        self.figures[step][contestant.name] = figures
        say(f"{len(contestant.nodes):3} nodes, {step}, {contestant.name}: {figures['seconds']:.1f} s")
        return release

    def _save_image(self) -> tuple[str, Path]:
        """Return the image that was built last, and the file it was saved in."""
        image = self.ours.newest_image()
        archive = self._folder / f"{image.rpartition(':')[2]}.tar"
        with archive.open("wb") as file:
            command = ["docker", "exec", self.ours.balancer.container, "docker", "save", image]
            subprocess.run(command, check=True, stdout=file)
        return image, archive


def measure_fleet(nodes: int, rounds: int, sources: dict[str, Path], folder: Path) -> Steps:
    """Return figures[step][contestant] of fleets with so many nodes."""
    folder.mkdir()
    with machines(folder) as maker:
        say(f"{nodes:3} nodes: making {2 * (nodes + 1)} machines")
        race = Race(Flotilla(maker, nodes, folder, sources), Plain(maker, nodes, folder), folder)
        race.run(rounds)
    return race.figures


def measure_all(sizes: Sequence[int], rounds: int) -> Fleets:
    """Return figures[nodes][step][contestant] of fleets of these sizes, one after another."""
    with tempfile.TemporaryDirectory(prefix="flotilla-bench-") as name:
        folder = Path(name)
        sources = make_sources(folder)
        return {nodes: measure_fleet(nodes, rounds, sources, folder / str(nodes)) for nodes in sizes}


def measure(options: argparse.Namespace) -> None:
    """Measure everything, show the outcome and write it."""
    load_average = os.getloadavg()
    fleets = measure_all(options.nodes, options.rounds)
    reached = goals(fleets)
    outcome = {
        "machine": machine_facts(load_average),
        "rounds": options.rounds,
        "fleets": fleets,
        "goals": [goal.row() for goal in reached],
    }
    print("\n".join([*table(fleets), *(goal.line() for goal in reached)]))
    write_results("deploy", outcome, chart(fleets))


def main() -> int:
    parser = option_parser(__doc__, rounds=3, rounds_help="of the no-op run, whose median counts")
    parser.add_argument("--nodes", type=int, nargs="+", default=[SMALL, LARGE], help="the fleets' sizes")
    options = parser.parse_args()
    return exit_code(lambda: measure(options), "the machines are removed")


if __name__ == "__main__":
    sys.exit(main())

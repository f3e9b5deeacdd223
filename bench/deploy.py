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
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from chart import Bar, bars
from hosts import USER, Host, Machines, docker, machines
from playbooks import PROJECT, Figures, run_playbook, say, stop

HERE = Path(__file__).resolve().parent
SMALL, LARGE = 3, 10
OURS, PLAIN = "Flotilla", "plain playbook"
COLD, NO_OP, MODEL, CODE, ROLLBACK, ADD = STEPS = (
    "cold deploy",
    "no-op run",
    "model-only release",
    "code release",
    "rollback",
    "adding a node",
)
PREDICTION = {"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}
RIGHT = ["setosa"]


class Contestant(ABC):
    """A way to deploy, and its machines: a load balancer and the nodes that its inventory names.

    `first` is the last part of the balancer's address; the nodes' addresses follow.
    """

    name: str
    first: int

    def __init__(self, maker: Machines, nodes: int, folder: Path) -> None:
        self._maker = maker
        self._inventory = folder / f"{self.first}.json"
        names = ["lb1", *(f"node{number + 1}" for number in range(nodes))]
        self.balancer, *self.nodes = maker.make(names, self.first, str(self.first))
        self._write_inventory()

    @abstractmethod
    def deploy(self, version: str) -> Figures:
        """Bring a version of the endpoint to all nodes and return the run's figures."""

    @abstractmethod
    def roll_back(self, version: str) -> Figures:
        """Return to the version before, which is this one."""

    @property
    def hosts(self) -> list[Host]:
        return [self.balancer, *self.nodes]

    def add_node(self) -> None:
        """Make one more machine and enter it in the inventory."""
        number = len(self.nodes) + 1
        self.nodes += self._maker.make([f"node{number}"], self.first + number, str(self.first))
        self._write_inventory()

    def _write_inventory(self) -> None:
        def group(hosts: Sequence[Host]) -> dict[str, Any]:
            return {"hosts": {host.name: {"ansible_host": host.address} for host in hosts}}

        variables = {
            "ansible_user": USER,
            "ansible_ssh_private_key_file": str(self._maker.key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self._maker.known_hosts}",
        }
        groups = {"load_balancers": group([self.balancer]), "model_nodes": group(self.nodes)}
        self._inventory.write_text(json.dumps({"all": {"vars": variables, "children": groups}}))

    def _play(self, playbook: str, **variables: str) -> Figures:
        return run_playbook(playbook, self._inventory, variables)


class Flotilla(Contestant):
    """This project, as it is in this checkout; its image builder is the load balancer."""

    name = OURS
    first = 10

    def __init__(self, maker: Machines, nodes: int, folder: Path, sources: dict[str, Path]) -> None:
        super().__init__(maker, nodes, folder)
        self._sources = sources

    def deploy(self, version: str) -> Figures:
        return self._play("site.yml", model_image_source=str(self._sources[version]))

    def roll_back(self, version: str) -> Figures:
        return self._play("playbooks/rollback.yml")

    def newest_image(self) -> str:
        """Return the name of the endpoint's image that was built last."""
        listing = ("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "flotilla/model-endpoint")
        return self.balancer.run(*listing).split()[0]


class Plain(Contestant):
    """The plain playbook; `images` holds, for each version, the image and the file that it is saved in."""

    name = PLAIN
    first = 110

    def __init__(self, maker: Machines, nodes: int, folder: Path) -> None:
        super().__init__(maker, nodes, folder)
        self.images: dict[str, tuple[str, Path]] = {}

    def deploy(self, version: str) -> Figures:
        image, archive = self.images[version]
        return self._play("bench/plain/site.yml", endpoint_image=image, endpoint_archive=str(archive))

    def roll_back(self, version: str) -> Figures:
        return self.deploy(version)


def make_sources(folder: Path) -> dict[str, Path]:
    """Return folders with what the endpoint is built from, by version: as it is, with a retrained model, and with
    changed code as well.
    """
    versions = {version: folder / version / "model_endpoint" for version in ("first", "model", "code")}
    shutil.copytree(
        PROJECT / "model_endpoint", versions["first"], ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(versions["first"], versions["model"])
    training = (versions["first"] / "train.py").read_text()
    retraining = folder / "retrain.py"
    retraining.write_text(
        training.replace("random_state=0", "random_state=1").replace(
            "Path(__file__).parent", f"Path({str(versions['model'])!r})"
        )
    )
    path = {"PYTHONPATH": str(versions["model"] / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, retraining], check=True, env={**os.environ, **path}, stdout=sys.stderr)
    shutil.copytree(versions["model"], versions["code"])
    with (versions["code"] / "src" / "model_endpoint" / "web" / "app.py").open("a") as file:
        file.write("\n# Changed by the benchmark.\n")
    return versions


def answers(contestant: Contestant) -> tuple[set[str], set[str]]:
    """Return which endpoints and which releases answer predictions sent through the load balancer."""
    endpoints, releases = set(), set()
    url = f"http://{contestant.balancer.address}/predict"
    headers = {"Content-Type": "application/json"}
    for _ in range(4 * len(contestant.nodes)):
        request = urllib.request.Request(url, json.dumps(PREDICTION).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - own address
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
        self.figures: dict[str, dict[str, Figures]] = {step: {} for step in STEPS}
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


def measure(nodes: int, rounds: int, sources: dict[str, Path], folder: Path) -> dict[str, dict[str, Figures]]:
    """Return figures[step][contestant] of fleets with so many nodes."""
    folder.mkdir()
    with machines(folder) as maker:
        say(f"{nodes:3} nodes: making {2 * (nodes + 1)} machines")
        race = Race(Flotilla(maker, nodes, folder, sources), Plain(maker, nodes, folder), folder)
        race.run(rounds)
    return race.figures


def measure_all(sizes: Sequence[int], rounds: int) -> dict[int, dict[str, dict[str, Figures]]]:
    """Return figures[nodes][step][contestant] of fleets of these sizes, one after another."""
    with tempfile.TemporaryDirectory(prefix="flotilla-bench-") as name:
        folder = Path(name)
        sources = make_sources(folder)
        return {nodes: measure(nodes, rounds, sources, folder / str(nodes)) for nodes in sizes}


def build_seconds(figures: Figures) -> float:
    """The part of a run's time that went into building images, which the plain playbook leaves to others."""
    return float(sum(seconds for play, seconds in figures["plays"].items() if play.startswith("Build")))


def goals(fleets: dict[int, dict[str, dict[str, Figures]]]) -> list[dict[str, Any]]:
    """Each goal that the fleets measured can answer, with the value that was reached; less is better in all."""

    def seconds(nodes: int, step: str, name: str = OURS) -> float:
        return float(fleets[nodes][step][name]["seconds"])

    shipped = max(steps[MODEL][OURS]["received_bytes"]["most"] for steps in fleets.values())
    rows = [("megabytes a node receives in a model-only release, Ansible's own included", shipped / 1e6, 5.0)]
    if {SMALL, LARGE} <= fleets.keys():
        no_op = seconds(LARGE, NO_OP)
        growth = seconds(LARGE, MODEL) / seconds(SMALL, MODEL)
        rows += [
            (f"no-op run over {LARGE} nodes, in that over {SMALL}", no_op / seconds(SMALL, NO_OP), 1.5),
            (
                f"no-op run over {LARGE} nodes, in the plain playbook's",
                no_op / seconds(LARGE, NO_OP, PLAIN),
                0.5,
            ),
            (f"model-only release over {LARGE} nodes, in that over {SMALL}", growth, 2.0),
        ]
    return [
        {"goal": goal, "value": round(value, 3), "at_most": limit, "met": value <= limit}
        for goal, value, limit in rows
    ]


def chart(fleets: dict[int, dict[str, dict[str, Figures]]]) -> str:
    """Bars of seconds, one group a step."""

    def bar(nodes: int, name: str, figures: Figures) -> Bar:
        build = build_seconds(figures)
        text = f"{figures['seconds']:.1f}" + (f", build {build:.1f}" if build > 1 else "")
        return Bar(f"{name}, {nodes} nodes", figures["seconds"], text, name == OURS)

    groups = {
        step: [bar(nodes, name, fleets[nodes][step][name]) for nodes in fleets for name in (OURS, PLAIN)]
        for step in STEPS
    }
    return bars("Seconds a run takes (logarithmic; less is better)", groups, page_width=900)


def table(outcome: dict[str, Any]) -> str:
    lines = [f"{'nodes':5} {'step':20} {OURS:>10} {'(build)':>8} {PLAIN:>15}   seconds"]
    for nodes, steps in outcome["fleets"].items():
        for step, both in steps.items():
            build = build_seconds(both[OURS])
            lines.append(
                f"{nodes:5} {step:20} {both[OURS]['seconds']:10.1f} {build:8.1f} {both[PLAIN]['seconds']:15.1f}"
            )
    for row in outcome["goals"]:
        verdict = "met" if row["met"] else "NOT met"
        lines.append(f"{row['goal']}: {row['value']:.2f}, at most {row['at_most']}: {verdict}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[SMALL, LARGE], help="the fleets' sizes")
    parser.add_argument("--rounds", type=int, default=3, help="of the no-op run, whose median counts")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    load = os.getloadavg()
    try:
        fleets = measure_all(options.nodes, options.rounds)
    except RuntimeError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the machines are removed")
        return 130
    outcome = {
        "machine": {
            "python": platform.python_version(),
            "ansible_core": metadata.version("ansible-core"),
            "docker": docker("version", "--format", "{{.Server.Version}}").strip(),
            "cpus": os.cpu_count(),
            "load_average_before": load,
        },
        "rounds": options.rounds,
        "fleets": fleets,
        "goals": goals(fleets),
    }
    print(table(outcome))
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "deploy.json").write_text(json.dumps(outcome, indent=1) + "\n")
    (results / "deploy.svg").write_text(chart(fleets))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Compare Flotilla's load balancer with a naive one and with HAProxy: `make bench-lb`.

Each runs in a container, with the options that role nginx_lb gives to Nginx's, in front of the same two endpoints,
which serve only clients with a load balancer's certificate. Rounds are interleaved, so that a noisy machine is noisy
for all. wrk says how many requests a second get through, and /proc what CPU time they take of the load balancer's
processes; tests/fleet/load.py counts the requests that are lost while the load balancer is reloaded and while one
endpoint after the other is restarted. Every answer is checked. The second part renders inventories of up to 5,000
nodes as site.yml does, and has Nginx test and load what comes of it. Results go to bench/results/lb.json and lb.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ansible_collections.flotilla.fleet.plugins.modules import nginx_configuration
from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import NGINX_USER

from containers import command_output
from fleet.load import PREDICTION, Load, under_load
from lb_balancers import Balancer, contestants, running, with_version
from lb_fleet import STATUS_PORT, Endpoints, many_nodes, render
from lb_report import RELOAD, RESTART, chart, goals, summary, table
from report import Figures, exit_code, machine_facts, medians, option_parser, say, write_results
from servers import ask, cpu_seconds, load, own_cpu_seconds, parent

SIZES = [10, 100, 1000, 5000]
CONNECTIONS = 32
# Requests a second while something is reloaded or restarted, well below what any of them can take.
RATE = 400
DOCKER_PID = Path("/run/docker.pid")


def log_cpu_seconds(process: int) -> float:
    """Return the CPU time that the engine has spent so far, above all on what containers write to their output.

    Counted are the engine's daemon and the shim of the container with this process.
    """
    return own_cpu_seconds(int(DOCKER_PID.read_text())) + own_cpu_seconds(parent(process))


def lost_during(balancer: Balancer, action: Callable[[Load], None]) -> dict[str, int]:
    """Do something to what serves, under load, and count the requests that are lost until all goes well again."""
    with under_load([balancer.url], RATE, 300) as traffic:
        action(traffic)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            seen = traffic.during(1)
            if seen.answers and not seen.lost:
                break
    record = traffic.record()
    return {"sent": len(record.answers), "lost": len(record.lost)}


def compare(
    chosen: Sequence[Balancer], endpoints: Endpoints, folder: Path, options: argparse.Namespace
) -> None:
    """Measure all load balancers in interleaved rounds; each keeps its samples."""
    body = json.dumps(PREDICTION)
    right = ask(f"{chosen[0].url}/predict", body.encode())

    def reload(balancer: Balancer, traffic: Load) -> None:
        for _ in range(options.reloads):
            balancer.reload()
            traffic.during(1)

    for number in range(options.rounds):
        # The first of one round is the last of the next.
        order = chosen if number % 2 == 0 else chosen[::-1]
        for each in order:
            cpu = {
                "cpu": partial(cpu_seconds, each.process),
                "log_cpu": partial(log_cpu_seconds, each.process),
            }
            url = f"{each.url}/predict"
            each.samples.append(load(url, body, options.seconds, folder, cpu, CONNECTIONS, right))
        for each in order:
            each.samples[-1][RELOAD] = lost_during(each, partial(reload, each))
        for each in order:
            each.samples[-1][RESTART] = lost_during(each, lambda _: endpoints.restart_all())
        say(f"round {number + 1} of {options.rounds} done")


def nginx_of(balancer: Balancer, state_file: Path) -> nginx_configuration.Nginx:
    """Return Flotilla's own Nginx as module nginx_configuration works with it, in this benchmark's container."""

    def run(command: list[str]) -> tuple[int, str, str]:
        # The module names the container of a fleet, which this machine may have beside the benchmark's.
        named = {nginx_configuration.CONTAINER: balancer.container}
        return command_output([named.get(word, word) for word in command])

    return nginx_configuration.Nginx(run, balancer.folder, state_file, STATUS_PORT, NGINX_USER)


def measure_size(count: int, rounds: int, ours: Balancer, folder: Path) -> Figures:
    """Return what it takes to bring so many nodes to Flotilla's load balancer, in medians over the rounds."""
    nginx = nginx_of(ours, folder / "state.json")
    samples = []
    text = ""
    for number in range(rounds):
        rendered, run_figures = render(folder, many_nodes(count))
        # Another version each time, or there would be nothing to reload.
        text, version = with_version(f"{rendered}# {number}\n")
        began = time.monotonic()
        nginx.test(text, ours.image)
        tested = time.monotonic()
        nginx.write(nginx.configuration_file, text)
        ours.reload()
        while nginx.served() != version:
            if time.monotonic() > tested + 30:
                raise RuntimeError(f"Nginx did not take {count} nodes: docker logs {ours.container}")
            time.sleep(0.005)
        served = time.monotonic()
        plays = run_figures["plays"]
        samples.append(
            {
                "start_seconds": plays["start"],
                "check_seconds": plays["Check the inventory"],
                "render_seconds": plays["Render the configuration"],
                "test_seconds": tested - began,
                "reload_seconds": served - tested,
            }
        )
    say(f"{count} nodes done")
    return {**medians(samples), "configuration_bytes": len(text)}


def measure(options: argparse.Namespace) -> None:
    """Measure everything, show the outcome and write it."""
    load_average = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="flotilla-bench-") as name:
        folder = Path(name)
        chosen, docker_options = contestants(folder)
        with running(chosen, docker_options, folder) as endpoints:
            compare(chosen, endpoints, folder, options)
            inventories = {
                count: measure_size(count, options.rounds, chosen[0], folder) for count in options.sizes
            }
        results = {balancer.name: summary(balancer) for balancer in chosen}
    reached = goals(results)
    outcome = {
        "machine": machine_facts(load_average),
        "rounds": options.rounds,
        "seconds_per_round": options.seconds,
        "reloads_per_round": options.reloads,
        "results": results,
        "inventories": inventories,
        "goals": [goal.row() for goal in reached],
    }
    print("\n".join([*table(results, inventories), *(goal.line() for goal in reached)]))
    write_results("lb", outcome, chart(results))


def main() -> int:
    parser = option_parser(__doc__, rounds=5)
    parser.add_argument("--seconds", type=float, default=5, help="of wrk's load for each in a round")
    parser.add_argument("--reloads", type=int, default=10, help="of each in a round, a second apart")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="of the inventories to render")
    options = parser.parse_args()
    return exit_code(lambda: measure(options), "the containers are removed")


if __name__ == "__main__":
    sys.exit(main())

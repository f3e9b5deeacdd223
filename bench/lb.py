"""Compare Flotilla's load balancer with a naive one and with HAProxy: `make bench-lb`.

Each runs in a container, with the options that role nginx_lb gives to Nginx's, in front of the same two endpoints,
which serve nobody without a load balancer's certificate. Rounds are interleaved, so that a noisy machine is noisy for
all. wrk says how many requests a second get through, and /proc what CPU time they take of the load balancer's
processes; tests/fleet/load.py counts the requests that are lost while the load balancer is reloaded and while one
endpoint after the other is restarted. Every answer is checked. The second part renders inventories of up to 5,000
nodes as site.yml does, and has Nginx test and load what comes of it. Results go to bench/results/lb.json and lb.svg.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import ssl
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import wanted_settings
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.modules import nginx_configuration
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import endpoint_name

from certificates import pem
from chart import Bar, bars
from fleet.load import PREDICTION, Load, under_load
from hosts import docker
from playbooks import PROJECT, Figures, run_playbook, say, stop
from servers import (
    CACHE,
    OWN_COMMAND,
    OWN_LOCK,
    Running,
    Server,
    ask,
    cpu_seconds,
    load,
    own_cpu_seconds,
    parent,
    start,
)

HERE = Path(__file__).resolve().parent
OURS, NAIVE, OLD, HAPROXY = "Flotilla", "naive Nginx", "naive Nginx of Debian 13", "HAProxy"
# Those that Flotilla's image does not hold.
PEERS = [
    {"image": "flotilla-bench/nginx:trixie", "suite": "trixie", "packages": ["nginx"]},
    {"image": "flotilla-bench/haproxy:forky", "suite": "forky", "packages": ["haproxy"]},
]
RELOAD, RESTART = "reload", "rolling restart"
SIZES = [10, 100, 1000, 5000]
LABEL = "flotilla.bench-lb"
BALANCER = "lb1"
ENDPOINT_PORTS = (24301, 24303)
FIRST_PORT, STATUS_PORT = 24310, 24320
THREADS = os.cpu_count() or 1
CONNECTIONS = 32
# Requests a second while something is reloaded or restarted, well below what any of them can take.
RATE = 400
DOCKER_PID = Path("/run/docker.pid")


@dataclass
class Balancer:
    """A load balancer to be compared: what runs, with which configuration, in which file, and how it is reloaded.

    `writable` are the folders it writes to beyond what role nginx_lb gives a container. Once it runs, `folder`
    holds its configuration and, in tls, its certificates, and `process` is its first one.
    """

    name: str
    image: str
    command: list[str]
    file: str
    configuration: str
    port: int
    reload_signal: str = "HUP"
    writable: tuple[str, ...] = ()
    folder: Path = Path()
    process: int = 0
    samples: list[Figures] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def container(self) -> str:
        return f"flotilla-bench-lb-{self.port}"

    def reload(self) -> None:
        docker("kill", "--signal", self.reload_signal, self.container)


class Endpoints:
    """Flotilla's endpoints, which all load balancers have in common."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        self._folder = folder
        self._certificates = certificates
        self._client = ssl.create_default_context(cafile=certificates / BALANCER / "servers.crt")
        self._client.load_cert_chain(certificates / BALANCER / "client.pem")
        # A name is expected of an endpoint, and it is asked by its address.
        self._client.check_hostname = False
        self._running: dict[int, Running] = {}

    def start(self, port: int) -> None:
        """Start an endpoint and wait until it answers right."""
        name = f"endpoint{port}"
        environ = {"FLOTILLA_ENDPOINT": name, "FLOTILLA_TLS": str(self._certificates / name)}
        server = Server("Flotilla", OWN_LOCK, OWN_COMMAND, environ=environ, client=self._client)
        self._running[port] = start(server, port, "iris", self._folder)

    def restart_all(self) -> None:
        """Restart one after another, each once the one before answers again."""
        for port, running in list(self._running.items()):
            running.stop()
            self.start(port)

    def stop(self) -> None:
        for running in self._running.values():
            running.stop()


def run_options(service: dict[str, Any]) -> list[str]:
    """Return the options of `docker run` that give any container the rights and limits of a role's `service`."""
    settings = wanted_settings(service)
    log = dict(settings["log"])
    values: dict[str, list[Any]] = {
        "user": [settings["user"]],
        "network": [settings["network"]],
        "tmpfs": [f"{path}:{options}" for path, options in settings["tmpfs"].items()],
        "cap-drop": settings["cap_drop"],
        "cap-add": settings["capabilities"],
        "security-opt": settings["security_opts"],
        "memory": [settings["memory"]],
        "memory-swap": [settings["memory"]],
        "pids-limit": [settings["pids_limit"]],
        "log-driver": [log.pop("driver")],
        "log-opt": [f"{name}={value}" for name, value in log.items()],
    }
    return ["--read-only", *(f"--{name}={value}" for name, entries in values.items() for value in entries)]


def write_inventory(folder: Path, nodes: dict[str, dict[str, Any]]) -> Path:
    """Write an inventory of these nodes, on all of which the live release runs, and return its path."""
    up = {"status": "up", "share": 100, "since": 0, "reason": ""}
    state = {
        "serial": 1,
        "live_slot": "blue",
        # As servers.py starts an endpoint.
        "live": {"id": "0" * 12, "settings": {"common": {"workers": 2, "threads": 1}, "nodes": {}}},
        "candidate": None,
        "previous": [],
        "nodes": dict.fromkeys(nodes, up),
        "drained": [],
    }
    balancer = {
        "ansible_host": "127.0.0.1",
        "ansible_python_interpreter": sys.executable,
        "bench_state": state,
        # What site.yml finds out on the machine; its certificates are not in their place here.
        "flotilla_first_host": BALANCER,
        "flotilla_machine": {"files": {}},
    }
    groups = {"load_balancers": {"hosts": {BALANCER: balancer}}, "model_nodes": {"hosts": nodes}}
    path = folder / "hosts.json"
    path.write_text(json.dumps({"all": {"children": groups}}))
    return path


def render(folder: Path, nodes: dict[str, dict[str, Any]]) -> tuple[str, Figures]:
    """Return the configuration that role nginx_lb makes for these nodes, and the figures of the run that made it."""
    inventory = write_inventory(folder, nodes)
    ports = {"nginx_lb_port": FIRST_PORT, "nginx_lb_status_port": STATUS_PORT}
    figures = run_playbook("bench/balancers/render.yml", inventory, {"folder": str(folder), **ports})
    return (folder / "rendered.conf").read_text(), figures


def local_nodes() -> dict[str, dict[str, Any]]:
    return {
        f"endpoint{port}": {"ansible_host": "127.0.0.1", "model_endpoint_port": port}
        for port in ENDPOINT_PORTS
    }


def many_nodes(count: int) -> dict[str, dict[str, Any]]:
    return {
        f"node{number}": {
            "ansible_host": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            "model_endpoint_weight": 1 + number % 3,
        }
        for number in range(count)
    }


def write_certificates(folder: Path) -> None:
    """Write what the endpoints and the load balancers show each other and trust, as in a fleet, a folder for each."""
    fleet, balancers = make_authority("fleet"), make_authority("load balancers")
    files = {
        f"{BALANCER}/client.pem": pem(issue(balancers, BALANCER, "client")),
        f"{BALANCER}/servers.crt": certificate_pem(fleet[0]),
    }
    for node in local_nodes():
        files[f"{node}/server.pem"] = pem(issue(fleet, node, "server", names=[endpoint_name(node)]))
        files[f"{node}/clients.crt"] = certificate_pem(balancers[0])
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def with_version(configuration: str) -> tuple[str, str]:
    """Return a rendered configuration as it is installed, and its version."""
    version = nginx_configuration.version_of(configuration)
    return configuration.replace("@VERSION@", version), version


def contestants(folder: Path) -> tuple[list[Balancer], list[str]]:
    """Return the load balancers to compare, and the options of `docker run` that all of them get."""
    inventory = write_inventory(folder, local_nodes())
    # The role's own variables, read outside of it, want to know where it is.
    role = str(PROJECT / "roles" / "nginx_lb")
    variables = {"folder": str(folder), "cache": str(CACHE), "peers": PEERS, "role_path": role}
    run_playbook("bench/balancers/images.yml", inventory, variables)
    service = json.loads((folder / "service.json").read_text())
    rendered, _ = render(folder, local_nodes())
    old_nginx, haproxy = (str(peer["image"]) for peer in PEERS)

    def filled_in(name: str, port: int, line: str) -> str:
        servers = "\n".join(
            line.format(
                name=node, address=f"127.0.0.1:{its['model_endpoint_port']}", shown=endpoint_name(node)
            )
            for node, its in local_nodes().items()
        )
        template = string.Template((HERE / "balancers" / name).read_text())
        return template.substitute(port=port, threads=THREADS, servers=servers)

    def naive(name: str, image: str, port: int) -> Balancer:
        text = filled_in("naive.conf", port, "        server {address};")
        # Debian's own configuration has these two lines as well; and the folders are there where it is installed.
        command = ["/usr/sbin/nginx", "-g", "daemon off; worker_processes auto;"]
        writable = ("/run", "/var/lib/nginx", "/var/log/nginx")
        return Balancer(name, image, command, "/etc/nginx/nginx.conf", text, port, writable=writable)

    ours = with_version(rendered)[0]
    return [
        Balancer(
            OURS,
            service["image"],
            service["command"],
            "/etc/nginx/nginx.conf",
            ours,
            FIRST_PORT,
            writable=("/var/log/nginx",),
        ),
        naive(NAIVE, service["image"], FIRST_PORT + 1),
        naive(OLD, old_nginx, FIRST_PORT + 2),
        Balancer(
            HAPROXY,
            haproxy,
            ["/usr/sbin/haproxy", "-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"],
            "/etc/haproxy/haproxy.cfg",
            filled_in(
                "haproxy.cfg",
                FIRST_PORT + 3,
                "    server {name} {address} sni str({shown}) check-sni {shown}",
            ),
            FIRST_PORT + 3,
            reload_signal="USR2",
            writable=("/run/haproxy",),
        ),
    ], run_options(service)


def run(balancer: Balancer, options: Sequence[str], folder: Path, certificates: Path) -> None:
    """Run a load balancer and wait until it answers; `folder` gets its configuration's folder.

    Raises RuntimeError with the end of its output when it does not.
    """
    file = Path(balancer.file)
    balancer.folder = folder / balancer.container
    balancer.folder.mkdir()
    shutil.copytree(certificates / BALANCER, balancer.folder / "tls")
    (balancer.folder / file.name).write_text(balancer.configuration)
    place = [
        "--name",
        balancer.container,
        "--label",
        LABEL,
        "--volume",
        f"{balancer.folder}:{file.parent}:ro",
    ]
    for number, path in enumerate(balancer.writable):
        own = folder / f"{balancer.container}-{number}"
        own.mkdir()
        own.chmod(0o777)
        place += ["--volume", f"{own}:{path}"]
    docker("run", "--detach", "--pull", "never", *place, *options, balancer.image, *balancer.command)
    deadline = time.monotonic() + 20
    while True:
        try:
            ask(f"{balancer.url}/predict", json.dumps(PREDICTION).encode())
            break
        except OSError as error:
            if time.monotonic() > deadline:
                _, output, errors = command_output(["docker", "logs", "--tail", "20", balancer.container])
                raise RuntimeError(f"{balancer.name}: {error}\n{output}{errors}") from None
            time.sleep(0.1)
    balancer.process = int(docker("inspect", "--format", "{{.State.Pid}}", balancer.container))


def remove() -> None:
    """Remove the load balancers' containers, of an earlier run as well."""
    containers = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").split()
    if containers:
        docker("rm", "--force", *containers)


@contextlib.contextmanager
def running(chosen: Sequence[Balancer], options: Sequence[str], folder: Path) -> Iterator[Endpoints]:
    """Run the endpoints and the load balancers, and remove them at the end, whatever the end is."""
    certificates = folder / "certificates"
    write_certificates(certificates)
    endpoints = Endpoints(folder, certificates)
    remove()
    try:
        for port in ENDPOINT_PORTS:
            endpoints.start(port)
        for balancer in chosen:
            run(balancer, options, folder, certificates)
        yield endpoints
    finally:
        remove()
        endpoints.stop()


def log_cpu_seconds(process: int) -> float:
    """What the engine has spent so far, above all on what containers write: its daemon, and this container's shim."""
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
        # Whoever is first in one round is last in the next.
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


def measure_size(count: int, rounds: int, ours: Balancer, folder: Path) -> Figures:
    """Return what it takes to bring so many nodes to Flotilla's load balancer, in medians over the rounds."""
    # It is tested within the Nginx that runs, which is this one here and not the one of a fleet on this machine.
    nginx_configuration.CONTAINER = ours.container
    nginx = nginx_configuration.Nginx(command_output, ours.folder, folder / "state.json", STATUS_PORT)
    samples = []
    text = ""
    for number in range(rounds):
        rendered, run_figures = render(folder, many_nodes(count))
        # Another version each time, or there would be nothing to reload.
        text, version = with_version(f"{rendered}# {number}\n")
        began = time.monotonic()
        nginx.test(text, ours.image)
        tested = time.monotonic()
        nginx_configuration.write(nginx.configuration_file, text)
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


def command_output(command: list[str]) -> tuple[int, str, str]:
    """Run a command as AnsibleModule.run_command does."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def medians(samples: Sequence[Figures]) -> Figures:
    return {key: round(statistics.median(sample[key] for sample in samples), 4) for key in samples[0]}


def summary(balancer: Balancer) -> Figures:
    """Return a load balancer's figures: medians of its throughput, and all that it lost."""
    lost = {
        step: {key: sum(sample[step][key] for sample in balancer.samples) for key in ("sent", "lost")}
        for step in (RELOAD, RESTART)
    }
    speed = [{key: sample[key] for key in sample if key not in lost} for sample in balancer.samples]
    version = command_output(
        ["docker", "run", "--rm", "--network", "none", balancer.image, balancer.command[0], "-v"]
    )
    said = re.search(r"\d+\.\d+\.\d+", version[1] + version[2])
    return {"version": said[0] if said else "", **medians(speed), **lost, "samples": balancer.samples}


def goals(results: dict[str, Figures]) -> list[Figures]:
    """Each goal with the value that was reached."""
    ours = results[OURS]

    def ratio(key: str, other: str) -> float:
        return float(ours[key] / results[other][key])

    def cost(other: str) -> float:
        return cpu_microseconds(ours) / cpu_microseconds(results[other])

    def lost(name: str) -> int:
        return int(sum(results[name][step]["lost"] for step in (RELOAD, RESTART)))

    speed = "requests_per_second"
    rows: list[tuple[str, float, str, float]] = [
        (f"lost by {OURS}, {step}", ours[step]["lost"], "at_most", 0) for step in (RELOAD, RESTART)
    ]
    for name in (NAIVE, OLD):
        rows += [
            (f"requests/s in those of the {name}", ratio(speed, name), "at_least", 1.5),
            (f"CPU per request in that of the {name}", cost(name), "at_most", 0.5),
            (f"lost by the {name}", lost(name), "at_least", 2000),
        ]
    rows += [
        (f"requests/s in those of {HAPROXY}", ratio(speed, HAPROXY), "at_least", 0.9),
        (f"CPU per request in that of {HAPROXY}", cost(HAPROXY), "at_most", 1.1),
        (f"p99 in that of {HAPROXY}", ratio("p99_ms", HAPROXY), "at_most", 1.1),
    ]
    return [
        {
            "goal": goal,
            "value": round(value, 3),
            bound: limit,
            "met": value <= limit if bound == "at_most" else value >= limit,
        }
        for goal, value, bound, limit in rows
    ]


def cpu_microseconds(figures: Figures) -> float:
    """What a request takes of the load balancer's processes and of the engine, which copies what they log."""
    return float(figures["cpu_seconds_per_1000"] + figures["log_cpu_seconds_per_1000"]) * 1000


def table(outcome: Figures) -> str:
    lines = [
        f"{'':25} {'requests/s':>10} {'CPU µs':>7} {'of log':>7} {'p50 ms':>7} {'p99 ms':>7} "
        f"{'lost: ' + RELOAD:>15} {RESTART:>16}"
    ]
    for name, figures in outcome["results"].items():
        reload, restart = (f"{figures[step]['lost']}/{figures[step]['sent']}" for step in (RELOAD, RESTART))
        lines.append(
            f"{name:25} {figures['requests_per_second']:10.0f} {cpu_microseconds(figures):7.1f} "
            f"{figures['log_cpu_seconds_per_1000'] * 1000:7.1f} "
            f"{figures['p50_ms']:7.2f} {figures['p99_ms']:7.2f} {reload:>15} {restart:>16}"
        )
    lines.append(f"{'nodes':>6} {'check s':>8} {'render s':>9} {'nginx -t s':>11} {'reload s':>9} {'kB':>6}")
    for count, figures in outcome["inventories"].items():
        lines.append(
            f"{count:6} {figures['check_seconds']:8.2f} {figures['render_seconds']:9.2f} "
            f"{figures['test_seconds']:11.2f} {figures['reload_seconds']:9.3f} "
            f"{figures['configuration_bytes'] / 1000:6.0f}"
        )
    for row in outcome["goals"]:
        bound = "at_most" if "at_most" in row else "at_least"
        verdict = "met" if row["met"] else "NOT met"
        lines.append(f"{row['goal']}: {row['value']:.2f}, {bound.replace('_', ' ')} {row[bound]}: {verdict}")
    return "\n".join(lines)


def chart(results: dict[str, Figures]) -> str:
    """Bars of each figure, one group a figure."""
    shown: dict[str, Callable[[Figures], float]] = {
        "requests/s (more is better)": lambda figures: figures["requests_per_second"],
        "CPU µs of the load balancer and its log per request": cpu_microseconds,
        "p99, ms": lambda figures: figures["p99_ms"],
        f"lost per 10,000 requests, {RELOAD}": lambda figures: share_lost(figures[RELOAD]),
        f"lost per 10,000 requests, {RESTART}": lambda figures: share_lost(figures[RESTART]),
    }
    groups = {
        group: [
            Bar(name, of(figures), f"{of(figures):,.4g}", name == OURS) for name, figures in results.items()
        ]
        for group, of in shown.items()
    }
    return bars("Load balancers in front of two endpoints", groups, own_scales=True)


def share_lost(counts: dict[str, int]) -> float:
    return counts["lost"] / counts["sent"] * 10_000


def measure(options: argparse.Namespace) -> Figures:
    """Measure everything and return the outcome."""
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
    return {
        "machine": {
            "python": platform.python_version(),
            "ansible_core": metadata.version("ansible-core"),
            "docker": docker("version", "--format", "{{.Server.Version}}").strip(),
            "cpus": os.cpu_count(),
            "load_average_before": load_average,
        },
        "rounds": options.rounds,
        "seconds_per_round": options.seconds,
        "reloads_per_round": options.reloads,
        "results": results,
        "inventories": inventories,
        "goals": goals(results),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of wrk's load for each in a round")
    parser.add_argument("--reloads", type=int, default=10, help="of each in a round, a second apart")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="of the inventories to render")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    try:
        outcome = measure(options)
    except RuntimeError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the containers are removed")
        return 130
    print(table(outcome))
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "lb.json").write_text(json.dumps(outcome, indent=1) + "\n")
    (results / "lb.svg").write_text(chart(outcome["results"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The load balancers that bench-lb compares, and their containers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import string
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import wanted_settings
from ansible_collections.flotilla.fleet.plugins.modules import nginx_configuration
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import endpoint_name

from containers import command_output, docker, remove_containers
from fleet.load import PREDICTION
from lb_fleet import (
    BALANCER,
    ENDPOINT_PORTS,
    FIRST_PORT,
    Endpoints,
    local_nodes,
    render,
    write_certificates,
    write_inventory,
)
from playbooks import PROJECT, run_playbook
from real_nginx import write_scripts
from report import Figures
from servers import CACHE, ask

TEMPLATES = Path(__file__).resolve().parent / "balancers"
OURS, COUNTED = "Flotilla", "Flotilla with metrics"
NAIVE, OLD, HAPROXY = "naive Nginx", "naive Nginx of Debian 13", "HAProxy"
# The images beside Flotilla's.
OLD_NGINX_IMAGE, HAPROXY_IMAGE = "flotilla-bench/nginx:trixie", "flotilla-bench/haproxy:forky"
PEERS = [
    {"image": OLD_NGINX_IMAGE, "suite": "trixie", "packages": ["nginx"]},
    {"image": HAPROXY_IMAGE, "suite": "forky", "packages": ["haproxy"]},
]
LABEL = "flotilla.bench-lb"
NGINX_FILE, HAPROXY_FILE = "/etc/nginx/nginx.conf", "/etc/haproxy/haproxy.cfg"
THREADS = os.cpu_count() or 1


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

    def version(self) -> str:
        """Return the version that its program tells, or "" when the program tells none."""
        command = ["docker", "run", "--rm", "--network", "none", self.image, self.command[0], "-v"]
        _, output, errors = command_output(command)
        told = re.search(r"\d+\.\d+\.\d+", output + errors)
        return told[0] if told else ""


def contestants(folder: Path) -> tuple[list[Balancer], list[str]]:
    """Return the load balancers to compare, and the options of `docker run` that all of them get."""
    service = make_images(folder)
    return [
        flotilla(OURS, service, folder),
        naive(NAIVE, service["image"], FIRST_PORT + 1),
        naive(OLD, OLD_NGINX_IMAGE, FIRST_PORT + 2),
        haproxy(FIRST_PORT + 3),
        flotilla(COUNTED, service, folder, 4),
    ], run_options(service)


def make_images(folder: Path) -> dict[str, Any]:
    """Make the images of all load balancers and return the variable with which role nginx_lb runs Nginx."""
    inventory = write_inventory(folder, local_nodes())
    # The role's own variables, read outside of it, want to know where it is.
    role = str(PROJECT / "roles" / "nginx_lb")
    variables = {"folder": str(folder), "cache": str(CACHE), "peers": PEERS, "role_path": role}
    run_playbook("bench/balancers/images.yml", inventory, variables)
    service: dict[str, Any] = json.loads((folder / "service.json").read_text())
    return service


def flotilla(name: str, service: dict[str, Any], folder: Path, position: int = 0) -> Balancer:
    rendered, _ = render(folder, local_nodes(), position, monitored=name == COUNTED)
    configuration, _ = with_version(rendered)
    writable = ("/var/log/nginx",)
    image, command = service["image"], service["command"]
    return Balancer(name, image, command, NGINX_FILE, configuration, FIRST_PORT + position, writable=writable)


def naive(name: str, image: str, port: int) -> Balancer:
    configuration = filled_in("naive.conf", port, "        server {address};")
    # Debian's own configuration has these two lines as well; and the folders are there where it is installed.
    command = ["/usr/sbin/nginx", "-g", "daemon off; worker_processes auto;"]
    writable = ("/run", "/var/lib/nginx", "/var/log/nginx")
    return Balancer(name, image, command, NGINX_FILE, configuration, port, writable=writable)


def haproxy(port: int) -> Balancer:
    line = "    server {name} {address} sni str({shown}) check-sni {shown}"
    configuration = filled_in("haproxy.cfg", port, line)
    command = ["/usr/sbin/haproxy", "-W", "-db", "-f", HAPROXY_FILE]
    return Balancer(
        HAPROXY,
        HAPROXY_IMAGE,
        command,
        HAPROXY_FILE,
        configuration,
        port,
        reload_signal="USR2",
        writable=("/run/haproxy",),
    )


def filled_in(template: str, port: int, line: str) -> str:
    """Return a peer's configuration, from its template, with a `line` for each endpoint.

    The line may hold {name}, {address} and {shown}, the name in the endpoint's certificate.
    """
    servers = "\n".join(
        line.format(name=node, address=f"127.0.0.1:{its['model_endpoint_port']}", shown=endpoint_name(node))
        for node, its in local_nodes().items()
    )
    text = (TEMPLATES / template).read_text()
    return string.Template(text).substitute(port=port, threads=THREADS, servers=servers)


def with_version(configuration: str) -> tuple[str, str]:
    """Return a rendered configuration as it is installed, and its version."""
    version = nginx_configuration.version_of(configuration)
    return configuration.replace("@VERSION@", version), version


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


def run(balancer: Balancer, options: Sequence[str], folder: Path, certificates: Path) -> None:
    """Run a load balancer and wait until it answers; `folder` gets its configuration's folder.

    Raises RuntimeError with the end of its output when it does not.
    """
    file = Path(balancer.file)
    balancer.folder = folder / balancer.container
    balancer.folder.mkdir()
    shutil.copytree(certificates / BALANCER, balancer.folder / "tls")
    (balancer.folder / file.name).write_text(balancer.configuration)
    write_scripts(balancer.configuration, balancer.folder, {})
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


@contextlib.contextmanager
def running(chosen: Sequence[Balancer], options: Sequence[str], folder: Path) -> Iterator[Endpoints]:
    """Run the endpoints and the load balancers, and remove them at the end, whatever the end is."""
    certificates = folder / "certificates"
    write_certificates(certificates)
    endpoints = Endpoints(folder, certificates)
    remove_containers(LABEL)
    try:
        for port in ENDPOINT_PORTS:
            endpoints.start(port)
        for balancer in chosen:
            run(balancer, options, folder, certificates)
        yield endpoints
    finally:
        remove_containers(LABEL)
        endpoints.stop()

"""A real Nginx on loopback, with the files of the load balancer's image, but without a container."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from ansible_collections.flotilla.fleet.plugins.module_utils.interfaces import has_ipv6
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import endpoint_name

from certificates import pem
from plays import results_of
from unpacked import CACHE, unpacked

ROOT = Path(__file__).resolve().parents[1]
ROLE = ROOT / "roles" / "nginx_lb"
NODE = "n1"
STATE: dict[str, Any] = {
    "serial": 1,
    "live_slot": "blue",
    "live": {"id": "aaaaaaaaaaaa", "settings": {"common": {"workers": 2, "threads": 1}, "nodes": {}}},
    "candidate": None,
    "previous": [],
    "nodes": {NODE: {"status": "up", "share": 100, "since": 1, "reason": ""}},
    "drained": [],
}
ANSWER = b'{"predictions":["setosa"]}'
START_SECONDS = 20

Hosts = dict[str, dict[str, dict[str, Any]]]
"""The variables of hosts, by group and host."""


class Image(TypedDict):
    """An image of Debian packages, by the name that its recipe gives it."""

    name: str
    recipe: dict[str, Any]


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        port: int = any_socket.getsockname()[1]
    return port


def wait_until(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Return once `condition` holds. Raises TimeoutError, which names `what` was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds} s: {what}")
        time.sleep(0.02)


def run_play(
    folder: Path, tasks: list[dict[str, Any]], endpoint_port: int, more: Hosts | None = None
) -> list[dict[str, Any]]:
    """Run tasks for a load balancer with the role's variables, in front of one node, and return their results.

    `more` are further hosts of the inventory, by group.
    """
    play = {
        "name": "Render",
        "hosts": "lb",
        "gather_facts": False,
        "vars": {"role_path": str(ROLE)},
        "vars_files": [f"{ROLE}/defaults/main.yml", f"{ROLE}/vars/main.yml"],
        "tasks": tasks,
    }
    balancer = {
        "flotilla_first_host": "lb",
        "flotilla_machine": {"files": {}, "ipv6": has_ipv6()},
        "ansible_host": "127.0.0.1",
    }
    node = {"ansible_host": "127.0.0.1", "model_endpoint_port": endpoint_port}
    hosts: Hosts = {"load_balancers": {"lb": balancer}, "model_nodes": {NODE: node}}
    for group, members in (more or {}).items():
        hosts[group] = {**hosts.get(group, {}), **members}
    groups = {group: {"hosts": members} for group, members in hosts.items()}
    (folder / "render.json").write_text(json.dumps([play]))
    (folder / "hosts.json").write_text(json.dumps({"all": {"children": groups}}))
    return results_of(folder / "render.json", folder / "hosts.json", "lb")


def render(
    folder: Path, cases: Mapping[str, Mapping[str, Any]], endpoint_port: int, more: Hosts | None = None
) -> tuple[dict[str, str], Image]:
    """Return the configuration for each case's variables by the case's name, and Nginx's image."""
    template = f"lookup('ansible.builtin.template', '{ROLE}/templates/nginx.conf.j2', template_vars=item)"
    tasks: list[dict[str, Any]] = [
        {
            "name": "Render the configurations",
            "ansible.builtin.debug": {"msg": f"{{{{ {template} }}}}"},
            "loop": [{"nginx_lb_state": STATE, **variables} for variables in cases.values()],
        },
        {
            "name": "Show the recipe of the image",
            "ansible.builtin.debug": {
                "msg": {"name": "{{ __nginx_lb_image }}", "recipe": "{{ __nginx_lb_image_recipe }}"}
            },
        },
    ]
    rendered, shown = run_play(folder, tasks, endpoint_port, more)
    texts = [result["msg"] for result in rendered["results"]]
    return dict(zip(cases, texts, strict=True)), shown["msg"]


def installation(image: Image) -> Path:
    """Return a folder with the files of Nginx's image, made once for each content of the image.

    They come from the tarball that the test fleets' builder keeps, or from Debian's packages.
    """
    name, recipe = image["name"].replace("/", "-").replace(":", "-"), image["recipe"]
    kept = CACHE / "builder" / f"{name}.tar"
    return unpacked(CACHE / "nginx" / name, recipe["suite"], recipe["packages"], recipe["files"], kept)


def write_certificates(folder: Path) -> None:
    """Write what the load balancer (tls/) and the endpoint (endpoint/) show each other and trust."""
    fleet, balancers, monitoring = (make_authority(name) for name in ("fleet", "balancers", "monitoring"))
    server = issue(fleet, NODE, "server", names=[endpoint_name(NODE)])
    files = {
        "etc/tls/client.pem": pem(issue(balancers, "lb", "client")),
        "etc/tls/servers.crt": certificate_pem(fleet[0]),
        "etc/tls/authority.crt": certificate_pem(fleet[0]),
        "etc/tls/metrics.pem": pem(issue(fleet, "lb", "server", names=["balancer.flotilla"])),
        "etc/tls/monitoring.crt": certificate_pem(monitoring[0]),
        "monitoring/client.pem": pem(issue(monitoring, "monitoring", "client")),
        "page/server.pem": pem(issue(fleet, "page", "server", names=["fleet-page.flotilla"])),
        "page/clients.crt": certificate_pem(balancers[0]),
        "etc/tls/frontend.pem": pem(issue(fleet, "lb", "server", names=["models.example"])),
        "endpoint/server.pem": pem(server),
        "endpoint/clients.crt": certificate_pem(balancers[0]),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


class Endpoint(ThreadingHTTPServer):
    """Stands in for an endpoint: answers every request, and keeps the headers of each but GET.

    Its certificates are in `folder`/`certificates`.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, folder: Path, port: int, certificates: str = "endpoint") -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.told: dict[str, str] = {}  # the headers that every answer has
        self.statuses: dict[str, int] = {}  # those other than 200, by path
        self.headers: list[Mapping[str, str]] = []
        self.answers = threading.Event()  # cleared, it lets every request wait
        self.answers.set()
        self.work = ""  # what a long request's answer says of its work
        self.abandoned: list[str] = []  # the keys of requests whose clients have left
        self.abandoned_status = 200
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / certificates / "server.pem")
        context.load_verify_locations(folder / certificates / "clients.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that end."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = self.server.statuses.get(self.path, 200)
        if self.path == "/abandoned":
            self.server.abandoned += body.decode().split()
            status = self.server.abandoned_status
        else:
            self.server.headers.append(dict(self.headers.items()))
            self.server.answers.wait()
        self._answer(status)

    def do_GET(self) -> None:
        self._answer(self.server.statuses.get(self.path, 200))

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if self.server.work:
            self.send_header("X-Work", self.server.work)
        for name, value in self.server.told.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: object) -> None:
        """Write no log."""


def write_scripts(configuration: str, folder: Path, places: Mapping[str, str]) -> None:
    """Write the scripts that a configuration names beside it in `folder`, with `places` for the paths in them."""
    for script in re.findall(r"/etc/nginx/(scripts/[^;]+);", configuration):
        name = re.sub(r"-[0-9a-f]{16}\.js$", ".js", Path(script).name)
        text = (ROLE / "files" / "reloaded" / name).read_text()
        for place, here in places.items():
            text = text.replace(place, here)
        (folder / script).parent.mkdir(exist_ok=True)
        (folder / script).write_text(text)


class Nginx:
    """Nginx with a rendered configuration, whose paths lie in `folder`."""

    def __init__(self, installed: Path, folder: Path, status_port: int) -> None:
        self._installed = installed
        self._folder = folder
        self._status_port = status_port
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("etc", "log", "run"):
            (folder / name).mkdir(exist_ok=True)

    def serve(self, configuration: str) -> None:
        """Start Nginx with a configuration, or reload it, and return once no worker accepts requests by another."""
        version = hashlib.sha256(configuration.encode() + os.urandom(8)).hexdigest()[:12]
        self._write(configuration, version)
        before = self._accepting()
        if self._process is None:
            self._process = self.start()
        else:
            self._process.send_signal(signal.SIGHUP)
        try:
            wait_until(lambda: self._served() == version, "Nginx does not serve the configuration")
            wait_until(lambda: not before & self._accepting(), "a worker still has the configuration before")
        except TimeoutError:
            raise RuntimeError(self.errors()) from None

    def start(self) -> subprocess.Popen[bytes]:
        """Start a process of Nginx with the configuration that is written."""
        with (self._folder / "errors").open("ab") as errors:
            return subprocess.Popen(self._command(), stderr=errors)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that serves, which a test may replace."""
        assert self._process
        return self._process

    @process.setter
    def process(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def file(self) -> Path:
        """The file of the configuration."""
        return self._folder / "etc" / "nginx.conf"

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(START_SECONDS)

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of the access log that are written by now."""
        return [json.loads(line) for line in (self._folder / "log" / "access.log").read_text().splitlines()]

    def errors(self) -> str:
        """Return what Nginx has written to its standard error output."""
        return (self._folder / "errors").read_text()

    def _accepting(self) -> set[str]:
        """Return the numbers of the workers that accept connections."""
        if self._process is None:
            return set()
        number = self._process.pid
        workers = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        return {worker for worker in workers if not self._ends(worker)}

    @staticmethod
    def _ends(worker: str) -> bool:
        try:
            return b"is shutting down" in Path(f"/proc/{worker}/cmdline").read_bytes()
        except OSError:
            return True

    def _command(self) -> list[str]:
        libraries = self._installed / "usr" / "lib" / "x86_64-linux-gnu"
        loader = self._installed / "lib64" / "ld-linux-x86-64.so.2"
        program = self._installed / "usr" / "sbin" / "nginx"
        files = ["-e", "stderr", "-c", str(self.file)]
        return [str(loader), "--library-path", str(libraries), str(program), *files]

    def _write(self, configuration: str, version: str) -> None:
        self.file.write_text(self.placed(configuration).replace("@VERSION@", version))

    def placed(self, configuration: str) -> str:
        """Return a configuration with the paths of this Nginx, whose scripts are written beside it."""
        places = {
            "/usr/lib/nginx": f"{self._installed}/usr/lib/nginx",
            "/usr/share/flotilla": f"{self._installed}/usr/share/flotilla",
            "/etc/nginx": f"{self._folder}/etc",
            "/var/log/nginx": f"{self._folder}/log",
            "/run/nginx": f"{self._folder}/run",
        }
        write_scripts(configuration, self._folder / "etc", places)
        for place, here in places.items():
            configuration = configuration.replace(place, here)
        # As root, Nginx would look for Debian's www-data.
        return f"user {getpass.getuser()};\n{configuration}"

    def _served(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._status_port, timeout=5)
        try:
            connection.request("GET", "/_lb/version")
            return connection.getresponse().read().decode().strip()
        except OSError:
            return ""
        finally:
            connection.close()


@contextlib.contextmanager
def running(
    folder: Path, installed: Path, endpoint_port: int, status_port: int
) -> Iterator[tuple[Nginx, Endpoint]]:
    """Run an endpoint's stand-in, and yield it with an Nginx that does not serve yet; end both afterwards."""
    write_certificates(folder)
    nginx = Nginx(installed, folder, status_port)
    with Endpoint(folder, endpoint_port) as endpoint:
        threading.Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield nginx, endpoint
        finally:
            nginx.stop()
            endpoint.shutdown()


@dataclass
class Cases:
    """A running Nginx, its ports, and its configurations by the name of the case."""

    nginx: Nginx
    endpoint: Endpoint
    folder: Path
    port: int
    tls_port: int
    configurations: dict[str, str]

    def case(self, name: str) -> None:
        self.nginx.serve(self.configurations[name])


ServedCases = TypeVar("ServedCases", bound=Cases)


@contextlib.contextmanager
def serving(
    kind: type[ServedCases], folder: Path, cases: Mapping[str, Mapping[str, Any]]
) -> Iterator[ServedCases]:
    """Run Nginx in `folder`, and yield it with its configuration of each case, which is the role's variables."""
    port, tls_port, status_port, endpoint_port = (free_port() for _ in range(4))
    ports = {"nginx_lb_port": port, "nginx_lb_tls_port": tls_port, "nginx_lb_status_port": status_port}
    with_ports = {name: {**ports, **variables} for name, variables in cases.items()}
    configurations, image = render(folder, with_ports, endpoint_port)
    with running(folder, installation(image), endpoint_port, status_port) as (nginx, endpoint):
        yield kind(nginx, endpoint, folder, port, tls_port, configurations)

"""The fleet that bench-lb's load balancers serve: two endpoints on this machine, their certificates and inventory."""

from __future__ import annotations

import json
import ssl
import sys
from pathlib import Path
from typing import Any

from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import endpoint_name

from certificates import pem
from playbooks import run_playbook
from report import Figures
from served import SHIPPED_FOLDER
from servers import OWN_COMMAND, OWN_LOCK, Running, Server, start

BALANCER = "lb1"
ENDPOINT_PORTS = (24301, 24303)
FIRST_PORT, STATUS_PORT = 24310, 24320
METRICS_PORT = 24330
# Variables of an inventory's host.
Variables = dict[str, Any]


class Endpoints:
    """Flotilla's endpoints, which all load balancers have in common."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        self._folder = folder
        self._certificates = certificates
        self._client = ssl.create_default_context(cafile=certificates / BALANCER / "servers.crt")
        self._client.load_cert_chain(certificates / BALANCER / "client.pem")
        # The endpoint's certificate has a name, and the endpoint is asked by its address.
        self._client.check_hostname = False
        self._running: dict[int, Running] = {}

    def start(self, port: int) -> None:
        """Start an endpoint and wait until it answers right."""
        name = f"endpoint{port}"
        environ = {"FLOTILLA_ENDPOINT": name, "FLOTILLA_TLS": str(self._certificates / name)}
        server = Server("Flotilla", OWN_LOCK, OWN_COMMAND, environ=environ, client=self._client)
        self._running[port] = start(server, port, "iris", self._folder, SHIPPED_FOLDER)

    def restart_all(self) -> None:
        """Restart one after another, each once the one before answers again."""
        for port, running in list(self._running.items()):
            running.stop()
            self.start(port)

    def stop(self) -> None:
        for running in self._running.values():
            running.stop()


def local_nodes() -> dict[str, Variables]:
    return {
        f"endpoint{port}": {"ansible_host": "127.0.0.1", "model_endpoint_port": port}
        for port in ENDPOINT_PORTS
    }


def many_nodes(count: int) -> dict[str, Variables]:
    return {
        f"node{number}": {
            "ansible_host": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            "model_endpoint_weight": 1 + number % 3,
        }
        for number in range(count)
    }


def write_inventory(folder: Path, nodes: dict[str, Variables], *, monitored: bool = False) -> Path:
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
    if monitored:
        groups["monitoring"] = {"hosts": {"monitor": {"ansible_host": "127.0.0.1"}}}
    path = folder / "hosts.json"
    path.write_text(json.dumps({"all": {"children": groups}}))
    return path


def render(
    folder: Path, nodes: dict[str, Variables], position: int = 0, *, monitored: bool = False
) -> tuple[str, Figures]:
    """Return the configuration that role nginx_lb makes for these nodes, and the figures of the run that made it.

    Each `position` has ports of its own.
    """
    inventory = write_inventory(folder, nodes, monitored=monitored)
    ports = {
        "nginx_lb_port": FIRST_PORT + position,
        "nginx_lb_status_port": STATUS_PORT + position,
        "nginx_lb_metrics_port": METRICS_PORT + position,
    }
    figures = run_playbook("bench/balancers/render.yml", inventory, {"folder": str(folder), **ports})
    return (folder / "rendered.conf").read_text(), figures


def write_certificates(folder: Path) -> None:
    """Write what the endpoints and the load balancers show each other and trust, as in a fleet, a folder for each."""
    fleet, balancers, monitoring = (make_authority(name) for name in ("fleet", "balancers", "monitoring"))
    files = {
        f"{BALANCER}/client.pem": pem(issue(balancers, BALANCER, "client")),
        f"{BALANCER}/servers.crt": certificate_pem(fleet[0]),
        f"{BALANCER}/metrics.pem": pem(issue(fleet, BALANCER, "server", names=["balancer.flotilla"])),
        f"{BALANCER}/monitoring.crt": certificate_pem(monitoring[0]),
    }
    for node in local_nodes():
        files[f"{node}/server.pem"] = pem(issue(fleet, node, "server", names=[endpoint_name(node)]))
        files[f"{node}/clients.crt"] = certificate_pem(balancers[0])
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

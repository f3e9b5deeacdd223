"""The page /fleet with its image's packages and files: it starts, and answers load balancers alone."""

from __future__ import annotations

import http.client
import os
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.page_files import page_files

import generated_fleet
from certificates import pem
from real_nginx import free_port, wait_until
from unpacked import CACHE, unpacked

ROOT = Path(__file__).resolve().parents[2]
VARIABLES: dict[str, Any] = yaml.safe_load((ROOT / "roles/fleet_page/vars/main.yml").read_text())
RECIPE, SERVICE = VARIABLES["__fleet_page_image_recipe"], VARIABLES["__fleet_page_service"]
NAME = "fleet-page.flotilla"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates, facts, and the image's own files."""
    folder = tmp_path_factory.mktemp("page")
    fleet, balancers, others = (make_authority(name) for name in ("fleet", "balancers", "monitoring"))
    files = {
        "tls/server.pem": pem(issue(fleet, "page", "server", names=[NAME])),
        "tls/clients.crt": certificate_pem(balancers[0]),
        "fleet.crt": certificate_pem(fleet[0]),
        "balancer.pem": pem(issue(balancers, "lb", "client")),
        "monitoring.pem": pem(issue(others, "watch", "client")),
        **{f"opt/{path}": text for path, text in page_files("python").items()},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    generated_fleet.write_facts(folder / "facts", generated_fleet.Fleet(2, generated_fleet.now(), ["iris"]))
    return folder


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    packages = RECIPE["packages"]
    installed = unpacked(
        CACHE / "fleet_page" / "-".join((RECIPE["suite"], *packages)),
        RECIPE["suite"],
        packages,
        {},
        Path("/none"),
    )
    port = free_port()
    loader = installed / "lib64" / "ld-linux-x86-64.so.2"
    libraries = installed / "usr" / "lib" / "x86_64-linux-gnu"
    python = installed / SERVICE["command"][0].removeprefix("/")
    environment = {
        "PYTHONHOME": str(installed / "usr"),
        "PYTHONPATH": f"{folder}/opt/python:{installed}/usr/lib/python3/dist-packages",
        "PYTHONDONTWRITEBYTECODE": "1",
        "FLOTILLA_LISTEN": f"127.0.0.1:{port}",
        "FLOTILLA_PROMETHEUS": "http://127.0.0.1:9",
        "FLOTILLA_FACTS": str(folder / "facts"),
        "FLOTILLA_CERTIFICATES": str(folder / "tls"),
        "PATH": os.environ["PATH"],
    }
    command = [str(loader), "--library-path", str(libraries), str(python), *SERVICE["command"][1:]]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd="/", stdout=log, stderr=log)
    try:
        wait_until(
            lambda: "Listening" in (folder / "log").read_text() or process.poll() is not None, "no listener"
        )
        assert process.poll() is None, (folder / "log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(30)


def ask(folder: Path, port: int, certificate: str, method: str = "GET") -> http.client.HTTPResponse:
    context = ssl.create_default_context(cafile=str(folder / "fleet.crt"))
    if certificate:
        context.load_cert_chain(folder / certificate)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    connection.sock = context.wrap_socket(connection.sock, server_hostname=NAME)
    connection.request(method, "/fleet")
    return connection.getresponse()


def test_a_load_balancer_is_answered(folder: Path, port: int) -> None:
    answer = ask(folder, port, "balancer.pem")
    page = answer.read().decode()
    assert answer.status == 200, (folder / "log").read_text()
    assert generated_fleet.LIVE in page
    assert "node002" in page
    assert ask(folder, port, "balancer.pem", "POST").status == 405


@pytest.mark.parametrize("certificate", ["", "monitoring.pem"])
def test_nobody_else_is_answered(folder: Path, port: int, certificate: str) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(folder, port, certificate)


def test_a_renewed_certificate_is_shown_at_once(folder: Path, port: int) -> None:
    authority = make_authority("fleet of another time")
    (folder / "fleet.crt").write_text(certificate_pem(authority[0]))
    with pytest.raises(ssl.SSLError):
        ask(folder, port, "balancer.pem")
    (folder / "tls" / "server.pem").write_text(pem(issue(authority, "page", "server", names=[NAME])))
    assert ask(folder, port, "balancer.pem").status == 200

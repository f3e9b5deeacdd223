"""A real CA on loopback, Pebble, with a DNS server for it, and keepers that run by the Python of their image."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)

from certificates import pem
from real_nginx import ROOT, free_port, wait_until
from unpacked import CACHE, unpacked

ROLE = ROOT / "roles" / "acme"
REFUSED_NAME = "refused.example"
SECONDS = 60


def _installed(name: str, suite: str, packages: list[str]) -> Path:
    recipe = hashlib.sha256(json.dumps([suite, packages]).encode()).hexdigest()[:12]
    return unpacked(CACHE / name / recipe, suite, packages, {}, kept=Path("/nonexistent"))


def keeper_image() -> Path:
    """Return a folder with the files of the keeper's image."""
    recipe = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__acme_image_recipe"]
    return _installed("acme", recipe["suite"], recipe["packages"])


class Pebble:
    """The CA, which forgets all when it is stopped, and the DNS server that it asks."""

    def __init__(self, folder: Path, http_port: int, address: str = "127.0.0.1") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._programs = _installed(
            "pebble", platform.freedesktop_os_release()["VERSION_CODENAME"], ["pebble"]
        )
        self._folder = folder
        self._port, self._dns_port, self._management = free_port(), free_port(), free_port()
        self._ca: subprocess.Popen[bytes] | None = None
        authority = make_authority("test")
        self.roots = folder / "roots.pem"
        self.roots.write_text(certificate_pem(authority[0]))
        (folder / "server.pem").write_text(pem(issue(authority, "ca", "server", addresses=[address])))
        self._address = address
        self.directory = f"https://{address}:{self._port}/dir"
        settings = {
            "listenAddress": f"{address}:{self._port}",
            "managementListenAddress": f"127.0.0.1:{free_port()}",
            "certificate": str(folder / "server.pem"),
            "privateKey": str(folder / "server.pem"),
            "httpPort": http_port,
            "tlsPort": free_port(),
            "domainBlocklist": [REFUSED_NAME],
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
        dns = ["-dns01", f"127.0.0.1:{self._dns_port}", "-management", f"127.0.0.1:{self._management}"]
        none = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-defaultIPv6", ""]
        self._dns = self._run("pebble-challtestsrv", *dns, *none[:6], *none[8:])
        wait_until(lambda: self._asks("set-default-ipv4", ip="127.0.0.1"), "the DNS server does not answer")

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        path = self._programs / "usr" / "bin" / program
        environment = {
            **os.environ,
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_WFE_NONCEREJECT": "0",
            "PEBBLE_AUTHZREUSE": "0",
        }
        with (self._folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen([path, *arguments], env=environment, stdout=log, stderr=log)

    def _asks(self, path: str, **body: Any) -> bool:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._management}/{path}", json.dumps(body).encode(), method="POST"
        )
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    @property
    def management(self) -> int:
        return self._management

    def start(self) -> None:
        arguments = [
            "-config",
            str(self._folder / "pebble.json"),
            "-dnsserver",
            f"127.0.0.1:{self._dns_port}",
        ]
        self._ca = self._run("pebble", *arguments)
        wait_until(self._answers, "Pebble does not answer")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self._address, self._port), 1):
            return True
        return False

    def stop(self) -> None:
        if self._ca:
            self._ca.send_signal(signal.SIGTERM)
            self._ca.wait(SECONDS)
            self._ca = None

    def end(self) -> None:
        self.stop()
        self._dns.terminate()
        self._dns.wait(SECONDS)

    def point(self, name: str, address: str) -> None:
        """Have `name` lead to `address`."""
        assert self._asks("clear-a", host=name)
        assert self._asks("add-a", host=name, addresses=[address])

    def orders(self) -> int:
        """Return how many orders were made."""
        return (self._folder / "pebble.log").read_text().count("Added order ")


class Driven:
    """A keeper that does a round when it is told to."""

    def __init__(
        self, image: Path, folder: Path, nginx: Path, roots: Path, settings: Mapping[str, Any]
    ) -> None:
        self.folder = folder
        (folder / "kept").mkdir(parents=True, exist_ok=True)
        nginx.mkdir(parents=True, exist_ok=True)
        (folder / "settings.json").write_text(json.dumps(settings))
        python = next((image / "usr" / "bin").glob("python3.[0-9]*"))
        libraries = image / "usr" / "lib" / "x86_64-linux-gnu"
        loader = [
            str(image / "lib64" / "ld-linux-x86-64.so.2"),
            "--library-path",
            str(libraries),
            str(python),
        ]
        arguments = [str(Path(__file__).with_name("acme_driver.py")), str(roots)]
        environment = {
            "PYTHONHOME": str(image / "usr"),
            "PYTHONPATH": str(ROLE / "files"),
            "PATH": "/usr/bin:/bin",
        }
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*loader, *arguments, str(folder), str(folder / "kept"), str(nginx)],
                env={**environment, "PYTHONPYCACHEPREFIX": str(CACHE / "acme" / "bytecode")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._read()

    def tell(self, command: str) -> dict[str, Any]:
        """Return what the keeper keeps after a command."""
        assert self._process.stdin
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        kept: dict[str, Any] = json.loads(self._read())
        return kept

    def round(self) -> dict[str, Any]:
        return self.tell("round")

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError((self.folder / "log").read_text()[-3000:])
        return line

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(SECONDS)


def write_peer_files(folders: list[Path]) -> None:
    """Write what keepers show each other."""
    fleet, balancers = make_authority("fleet"), make_authority("balancers")
    for folder in folders:
        (folder / "tls").mkdir(parents=True, exist_ok=True)
        files = {
            "server.pem": pem(issue(fleet, folder.name, "server", names=["acme.flotilla"])),
            "client.pem": pem(issue(balancers, folder.name, "client")),
            "clients.crt": certificate_pem(balancers[0]),
            "servers.crt": certificate_pem(fleet[0]),
        }
        for name, content in files.items():
            (folder / "tls" / name).write_text(content)


@contextlib.contextmanager
def running(folder: Path, http_port: int) -> Iterator[Pebble]:
    """Run Pebble, and end it afterwards."""
    ca = Pebble(folder, http_port)
    ca.start()
    try:
        yield ca
    finally:
        ca.end()

"""A new container of Nginx serves before the old one ends, or the old one serves on."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from ansible_collections.flotilla.fleet.plugins.modules import nginx_replacement
from ansible_collections.flotilla.fleet.plugins.modules.nginx_replacement import (
    BEFORE,
    CONTAINER,
    NotReplacedError,
    Replacement,
    migrating,
    sharing,
)

from unit.plugins.status_server import StatusServer

TEMPLATES = Path(__file__).parents[3] / "roles/nginx_lb/templates"
NEXT = "flotilla-nginx-next"
CONFIGURATION = """\
http {
    server {
        listen 80 default_server;
        listen [::]:80 default_server ipv6only=on;
    }
    server { # listen here
        listen unix:/run/nginx/shadow.sock;
        listen 127.0.0.1:8090;
        location = /_lb/version { return 200 '@VERSION@'; }
    }
}
"""


class Machine:
    """Stands in for Docker and for two Nginx, of which the last one that read the file answers."""

    def __init__(self, folder: Path, server: StatusServer) -> None:
        self.server = server
        self.file = folder / "nginx.conf"
        self.states = {CONTAINER: "running", NEXT: "created"}
        self.starts = True
        self.takes = True
        self.told: list[str] = []
        self.replacement = Replacement(
            self.run, self.file, CONFIGURATION, "v1", server.server_port, os.geteuid()
        )
        self.file.write_text(CONFIGURATION.replace("@VERSION@", "v1"))
        self.server.version = "v1"

    def run(self, command: list[str]) -> tuple[int, str, str]:
        what, container = command[1], command[2] if command[1] == "exec" else command[-1]
        if what == "inspect":
            state = self.states.get(container)
            return (0, f"{state}\n", "") if state else (1, "", "No such object")
        self.told.append(f"{what} {container}")
        match what:
            case "exec" if self.takes:
                self.serve()
            case "start":
                self.states[container] = "running" if self.starts else "exited"
                if self.starts:
                    self.serve()
            case "rename":
                self.states[container] = self.states.pop(command[-2])
            case "kill":
                assert command[2:4] == ["--signal", "QUIT"]
                self.states[container] = "exited"
            case "rm":
                self.states.pop(container)
            case "logs":
                return 0, "", "no such library\n"
        return 0, "", ""

    def serve(self) -> None:
        found = re.search("return 200 '(.*)'", self.file.read_text())
        assert found
        self.server.version = found[1]


@pytest.fixture
def machine(tmp_path: Path, status_server: StatusServer, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(nginx_replacement, "SERVING_SECONDS", 0.2)
    monkeypatch.setattr(nginx_replacement, "POLL_SECONDS", 0.01)
    return Machine(tmp_path, status_server)


def test_the_old_container_ends_once_the_new_one_serves(machine: Machine) -> None:
    machine.replacement.replace(NEXT)
    assert machine.told == [
        f"exec {CONTAINER}",
        f"start {NEXT}",
        f"update {CONTAINER}",
        f"rename {BEFORE}",
        f"rename {CONTAINER}",
        f"kill {BEFORE}",
        f"rm {BEFORE}",
        f"exec {CONTAINER}",
    ]
    assert machine.states == {CONTAINER: "running"}
    assert machine.file.read_text() == CONFIGURATION.replace("@VERSION@", "v1")
    assert machine.server.version == "v1"


def test_where_the_new_container_does_not_start_the_old_one_serves_on(machine: Machine) -> None:
    machine.starts = False
    with pytest.raises(
        NotReplacedError, match=r"flotilla-nginx-next does not serve v1-next.*\n.*no such library"
    ):
        machine.replacement.replace(NEXT)
    assert machine.states == {CONTAINER: "running"}
    assert machine.file.read_text() == CONFIGURATION.replace("@VERSION@", "v1")
    assert machine.server.version == "v1"
    assert not any(told.startswith(("kill", "rename")) for told in machine.told)


def test_where_the_old_one_can_not_share_its_ports_no_other_is_started(machine: Machine) -> None:
    machine.takes = False
    with pytest.raises(NotReplacedError, match="flotilla-nginx does not serve v1-before"):
        machine.replacement.replace(NEXT)
    assert machine.states == {CONTAINER: "running"}
    assert f"start {NEXT}" not in machine.told
    assert machine.file.read_text() == CONFIGURATION.replace("@VERSION@", "v1")


def test_what_an_interrupted_run_has_left_ends_first(machine: Machine) -> None:
    machine.states[BEFORE] = "running"
    machine.replacement.replace(NEXT)
    assert machine.told[:2] == [f"kill {BEFORE}", f"rm {BEFORE}"]
    assert machine.states == {CONTAINER: "running"}


def test_every_port_is_shared_and_no_other_socket() -> None:
    shared = [
        line.strip() for line in sharing(CONFIGURATION).splitlines() if line.strip().startswith("listen")
    ]
    assert shared == [
        "listen 80 default_server reuseport;",
        "listen [::]:80 default_server ipv6only=on reuseport;",
        "listen unix:/run/nginx/shadow.sock;",
        "listen 127.0.0.1:8090 reuseport;",
    ]


def test_the_templates_name_each_port_in_one_line() -> None:
    """Nginx refuses reuseport twice for one address and port, and a port that is not shared can't be taken over."""
    found = [
        line.strip()
        for template in sorted(TEMPLATES.glob("*.j2"))
        for line in template.read_text().splitlines()
        if re.match(r"\s*listen\b", line)
    ]
    assert len(found) > 5
    assert all(re.fullmatch(r"listen [^;]+;", line) for line in found), found
    places = [re.sub(r" (ssl|default_server|ipv6only=on)\b", "", line) for line in found]
    assert len({*places}) == len(places), places


def test_the_kernel_moves_connections_only_meanwhile(tmp_path: Path) -> None:
    setting = tmp_path / "tcp_migrate_req"
    with migrating(setting):
        assert not setting.exists()
    setting.write_text("0\n")
    with migrating(setting):
        assert setting.read_text() == "1"
    assert setting.read_text() == "0\n"

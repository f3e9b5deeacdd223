"""A configuration is served by Nginx together with its state, or neither is changed."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.fleet.plugins.module_utils.atomic_write import write_file
from ansible_collections.flotilla.fleet.plugins.module_utils.folder_lock import locked
from ansible_collections.flotilla.fleet.plugins.modules import nginx_configuration
from ansible_collections.flotilla.fleet.plugins.modules.nginx_configuration import (
    Nginx,
    NotTakenError,
    read,
    version_of,
)

from unit.plugins.status_server import StatusServer

ROOT = Path(__file__).resolve().parents[3]
OLD, NEW = "return 200 'old';\n", "return 200 'new';\n"
# Only root can give a file to another user.
OWNER = 10002 if os.geteuid() == 0 else os.geteuid()
RELOAD = ["docker", "exec", "flotilla-nginx", "/usr/sbin/nginx", "-s", "reload"]


def access(file: Path) -> tuple[int, int]:
    """The permissions and the owner of a file."""
    return stat.S_IMODE(file.stat().st_mode), file.stat().st_uid


class Machine:
    """Stands in for Docker: the commands it was given, and an Nginx that serves a version until it is reloaded."""

    def __init__(self, folder: Path, server: StatusServer) -> None:
        self.nginx = Nginx(
            self.run, folder / "nginx", folder / "lib" / "state.json", server.server_port, OWNER
        )
        self.server = server
        self.state = "true false"
        self.image = "flotilla/nginx:1"
        self.takes = True
        self.takes_seconds = 0.0
        self.fault = (0, "")
        self.tested, self.tested_access = "", (0, 0)
        self.commands: list[list[str]] = []

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        match command[1]:
            case "inspect":
                return 0, f"{self.state} {self.image}\n", ""
            case "run" | "exec" if "-t" in command:
                file = self.nginx.configuration_file.parent / Path(command[-1]).name
                self.tested, self.tested_access = file.read_text(), access(file)
                return self.fault[0], "", self.fault[1]
            case "exec" if self.takes_seconds:
                threading.Timer(self.takes_seconds, self.serve_the_file).start()
            case "exec" if self.takes:
                self.serve_the_file()
            case "logs":
                return 0, "", "bind() to 0.0.0.0:80 failed\n"
        return 0, "", ""

    def install(self, text: str, state: str) -> bool:
        return self.nginx.install(text, state, version_of(text))

    def files(self) -> tuple[str | None, str | None]:
        return read(self.nginx.state_file), read(self.nginx.configuration_file)

    def serve_the_file(self) -> None:
        self.server.version = version_of(self.files()[1] or "")

    def reloads(self) -> int:
        return self.commands.count(RELOAD)


@pytest.fixture
def machine(tmp_path: Path, status_server: StatusServer, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose Nginx serves OLD, with the state "1"."""
    monkeypatch.setattr(nginx_configuration, "RELOAD_SECONDS", 0)
    monkeypatch.setattr(nginx_configuration, "POLL_SECONDS", 0.01)
    machine = Machine(tmp_path, status_server)
    machine.server.version = version_of(OLD)
    machine.install(OLD, "1")
    assert machine.commands == []
    return machine


def test_what_is_served_already_is_not_reloaded(machine: Machine) -> None:
    assert not machine.install(OLD, "1")
    assert machine.reloads() == 0


def test_a_new_configuration_is_served_with_its_state(machine: Machine) -> None:
    assert machine.install(NEW, "2")
    assert machine.files() == ("2", NEW)
    assert machine.server.version == version_of(NEW)
    assert machine.reloads() == 1


def test_a_reload_that_takes_a_moment_is_waited_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nginx_configuration, "RELOAD_SECONDS", 10)
    machine.takes_seconds = 0.1
    assert machine.install(NEW, "2")
    assert machine.server.version == version_of(NEW)
    assert machine.reloads() == 1


def test_only_nginx_reads_the_configuration_and_only_root_the_state(machine: Machine) -> None:
    assert access(machine.nginx.configuration_file) == (0o400, OWNER)
    assert access(machine.nginx.state_file) == (0o600, os.geteuid())
    machine.takes = False
    with pytest.raises(NotTakenError):
        machine.install(NEW, "2")
    assert machine.files() == ("1", OLD)
    assert access(machine.nginx.configuration_file) == (0o400, OWNER)
    assert access(machine.nginx.state_file) == (0o600, os.geteuid())


def test_files_that_everybody_could_read_are_closed_without_a_reload(machine: Machine) -> None:
    for file in (machine.nginx.configuration_file, machine.nginx.state_file):
        file.chmod(0o644)
    assert not machine.install(OLD, "1")
    assert access(machine.nginx.configuration_file) == (0o400, OWNER)
    assert access(machine.nginx.state_file) == (0o600, os.geteuid())
    assert machine.reloads() == 0


def test_a_task_that_reads_the_state_does_so_as_root() -> None:
    """Without root's rights it would find no state, and a run that is limited to a node would know of no release."""
    tasks = yaml.safe_load((ROOT / "roles" / "release" / "tasks" / "plan.yml").read_text())
    reading = [task for task in tasks if "/var/lib/flotilla/state.json" in str(task)]
    assert [task["become"] for task in reading] == [True]


def test_a_state_alone_is_written_without_a_reload(machine: Machine) -> None:
    assert not machine.install(OLD, "2")
    assert machine.files() == ("2", OLD)
    assert machine.reloads() == 0


@pytest.mark.parametrize("written", [{"state_file": "2"}, {"state_file": "2", "configuration_file": NEW}])
def test_a_run_that_was_interrupted_is_finished_by_the_next(
    machine: Machine, written: dict[str, str]
) -> None:
    for name, content in written.items():
        getattr(machine.nginx, name).write_text(content)
    assert machine.install(NEW, "2")
    assert machine.files() == ("2", NEW)
    assert machine.server.version == version_of(NEW)


def test_a_status_server_that_moves_to_another_port_is_reloaded_for(machine: Machine) -> None:
    machine.server.version = ""
    assert machine.install(NEW, "2")
    assert machine.server.version == version_of(NEW)


@pytest.mark.parametrize("state", ["false false", "true true", ""])
def test_an_nginx_that_does_not_run_is_left_to_the_start_of_its_container(
    machine: Machine, state: str
) -> None:
    machine.server.version, machine.state = "", state
    assert not machine.install(NEW, "2")
    assert machine.files() == ("2", NEW)
    assert machine.reloads() == 0


def test_a_reload_that_does_not_take_puts_both_files_back_and_quotes_nginx(machine: Machine) -> None:
    machine.takes = False
    with pytest.raises(NotTakenError, match=r"(?s)old configuration stays in use.*bind\(\) to"):
        machine.install(NEW, "2")
    assert machine.files() == ("1", OLD)
    assert machine.reloads() == 2
    assert machine.commands[-1] == RELOAD


def test_a_reload_that_does_not_take_leaves_no_file_where_there_was_none(machine: Machine) -> None:
    machine.nginx.state_file.unlink()
    machine.takes = False
    with pytest.raises(NotTakenError):
        machine.install(NEW, "2")
    assert machine.files() == (None, OLD)


def test_a_configuration_that_cannot_be_written_puts_the_state_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(path: Path, content: str, **options: Any) -> None:
        if path == machine.nginx.configuration_file:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_file(path, content, **options)

    monkeypatch.setattr(nginx_configuration, "write_file", full_disk)
    with pytest.raises(NotTakenError, match=r"nginx\.conf can't be written"):
        machine.install(NEW, "2")
    assert machine.files() == ("1", OLD)
    assert machine.reloads() == 0


def test_old_workers_are_waited_for_within_bounds(machine: Machine) -> None:
    listings = iter(["nginx: worker process is shutting down", "nginx: worker process"])
    machine.nginx.run = lambda _: (0, next(listings), "")
    machine.nginx.wait_for_old_workers(5)
    assert next(listings, None) is None
    machine.nginx.run = lambda _: (0, "nginx: worker process is shutting down", "")
    machine.nginx.wait_for_old_workers(0)


@pytest.mark.parametrize(
    ("state", "image", "within"),
    [
        ("true false", "flotilla/nginx:1", ["docker", "exec", "flotilla-nginx"]),
        ("true false", "flotilla/nginx:0", ["docker", "run"]),
        ("true true", "flotilla/nginx:1", ["docker", "run"]),
        ("false false", "flotilla/nginx:1", ["docker", "run"]),
    ],
)
def test_a_test_is_of_the_text_and_by_the_image(
    machine: Machine, state: str, image: str, within: list[str]
) -> None:
    machine.state, machine.image = state, image
    machine.nginx.test(NEW, "flotilla/nginx:1")
    assert machine.tested == NEW
    assert machine.tested_access == (0o400, OWNER)
    command = machine.commands[-1]
    assert command[: len(within)] == within
    assert command[-5:] == ["/usr/sbin/nginx", "-t", "-q", "-c", "/etc/nginx/tested.conf"]
    assert ("flotilla/nginx:1" in command) == ("run" in command)
    assert [entry.name for entry in machine.nginx.configuration_file.parent.iterdir()] == ["nginx.conf"]


@pytest.mark.parametrize(
    ("code", "words"), [(1, "Nginx refuses it"), (125, "can't be tested with flotilla/nginx:1")]
)
def test_a_test_that_fails_says_whose_fault_it_is(machine: Machine, code: int, words: str) -> None:
    machine.fault = (code, "invalid weight\n")
    with pytest.raises(NotTakenError, match=rf"(?s){words}.*invalid weight"):
        machine.nginx.test(NEW, "flotilla/nginx:1")


Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(
    run_module: Call, tmp_path: Path, status_server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Call the module itself, beside a Docker that can do nothing and an Nginx that serves something else."""
    status_server.version = "0123456789ab"
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(docker.parent), prepend=":")

    def run(action: str, *, check: bool = False) -> dict[str, Any]:
        return run_module(
            "nginx_configuration",
            check=check,
            action=action,
            configuration="# @VERSION@\n",
            state={"serial": 1},
            image="flotilla/nginx:1",
            status_port=status_server.server_port,
            owner=OWNER,
            directory=str(tmp_path / "nginx"),
            state_file=str(tmp_path / "state.json"),
        )

    return run


def test_the_module_writes_both_files_once_and_shows_them(call: Call, tmp_path: Path) -> None:
    first, second = call("install"), call("install")
    assert (first["changed"], second["changed"]) == (True, False)
    assert [Path(part["after_header"]).name for part in first["diff"]] == ["state.json", "nginx.conf"]
    assert (tmp_path / "nginx" / "nginx.conf").read_text() == f"# {first['version']}\n"
    assert first["version"] == version_of("# @VERSION@\n")
    assert json.loads((tmp_path / "state.json").read_text()) == {"serial": 1, "version": first["version"]}
    assert sorted(entry.name for entry in (tmp_path / "nginx").iterdir()) == ["nginx.conf"]


@pytest.mark.parametrize("file", ["state.json", "nginx/nginx.conf"])
def test_the_module_tells_of_a_file_that_everybody_could_read(call: Call, tmp_path: Path, file: str) -> None:
    call("install")
    (tmp_path / file).chmod(0o644)
    told = [Path(part["after_header"]) for part in call("install", check=True)["diff"]]
    assert told == [tmp_path / file]
    assert access(tmp_path / file)[0] == 0o644
    assert call("install")["changed"]
    assert not call("install")["changed"]


def test_check_mode_says_what_would_change_and_writes_nothing(call: Call, tmp_path: Path) -> None:
    result = call("install", check=True)
    assert result["changed"]
    assert result["reloaded"]
    assert len(result["diff"]) == 2
    assert not (tmp_path / "nginx").exists()
    assert not (tmp_path / "state.json").exists()


def test_what_is_in_place_already_is_not_tested_again(call: Call) -> None:
    assert "refuses it" in call("test")["msg"]
    call("install")
    assert not call("test").get("failed", False)


def test_the_module_waits_for_one_that_is_at_work(call: Call, tmp_path: Path) -> None:
    results: list[dict[str, Any]] = []
    next_run = threading.Thread(target=lambda: results.append(call("install")))
    with locked(tmp_path / "nginx"):
        next_run.start()
        next_run.join(timeout=0.3)
        assert next_run.is_alive()
        assert not (tmp_path / "nginx" / "nginx.conf").exists()
    next_run.join()
    assert results[0]["changed"]

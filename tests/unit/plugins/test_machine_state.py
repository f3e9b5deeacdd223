"""What a look at a machine tells, with an engine that is a stand-in."""

from __future__ import annotations

import errno
import http.server
import json
import os
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import inspected_settings
from ansible_collections.flotilla.fleet.plugins.module_utils.docker_engine import Engine
from ansible_collections.flotilla.fleet.plugins.module_utils.engine_state import engine_state
from ansible_collections.flotilla.fleet.plugins.module_utils.interfaces import (
    bridge_address,
    has_ipv6,
    own_addresses,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.machine_files import (
    disk_space,
    distributions,
    file_certificates,
    file_states,
    fleet_state,
    link_targets,
    os_release,
    registry_digests,
    unsupported,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    key_pem,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.modules.machine_state import (
    lock_state,
    shown_certificate,
)

from unit.plugins.deploy_lock.owners import beat, owner

REPOSITORY = "10.0.0.1:5000/flotilla/nginx"
LISTED = [{"Id": name} for name in ("a", "b", "c", "gone")]


def inspected(name: str, **state: Any) -> dict[str, Any]:
    return {
        "Name": f"/{name}",
        "Image": "sha256:id",
        "Created": "2025-01-01T00:00:00.123456789Z",
        "RestartCount": 2,
        "Config": {"Image": f"{REPOSITORY}@sha256:1", "Labels": {"flotilla.role": "endpoint"}},
        "HostConfig": {"Memory": 1 << 29},
        "State": {"StartedAt": "2025-01-01T00:00:00Z", **state},
    }


ANSWERS: dict[str, Any] = {
    "/_ping": "OK",
    "/info": {
        "DockerRootDir": "/data/docker",
        "FirewallBackend": {"Driver": "iptables+firewalld"},
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=selinux", "name=cgroupns"],
    },
    "/networks/flotilla": {"IPAM": {"Config": [{"Subnet": "169.254.83.0/24"}]}, "Options": {"mtu": "1500"}},
    "/containers/json": LISTED,
    "/containers/a/json": inspected("one", Running=True, Health={"Status": "healthy"}),
    "/containers/b/json": inspected("two", Running=False),
    "/containers/c/json": inspected("three", Running=True, Restarting=True),
    "/images/json": [
        {
            "Id": "sha256:a",
            "Created": 1700000000,
            "RepoTags": ["flotilla/nginx:abc", f"{REPOSITORY}:abc"],
            "RepoDigests": [f"{REPOSITORY}@sha256:1"],
        },
        {"Id": "sha256:b", "Created": 1, "RepoTags": [f"{REPOSITORY}:never-pushed"], "RepoDigests": []},
        {
            "Id": "sha256:c",
            "Created": 2,
            "RepoTags": [f"{REPOSITORY}:twice"],
            "RepoDigests": [f"{REPOSITORY}@sha256:2", f"{REPOSITORY}@sha256:3"],
        },
        {"Id": "sha256:d", "Created": 3, "RepoTags": None, "RepoDigests": None},
        {"Id": "sha256:e", "Created": 4, "RepoTags": ["debian:13"], "RepoDigests": ["debian@sha256:4"]},
    ],
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from `answers`: a ValueError stands for a failure, and what is missing for 404."""

    protocol_version = "HTTP/1.1"
    answers: dict[str, Any]

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        answer = self.answers.get(self.path.partition("?")[0], FileNotFoundError())
        failed = isinstance(answer, Exception)
        body = json.dumps({"message": str(answer)} if failed else answer).encode()
        self.send_response_only({FileNotFoundError: 404, ValueError: 500}.get(type(answer), 200))
        self.send_header("Server", "Docker/26.1.5+dfsg1 (linux)")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


Serve = Callable[[dict[str, Any]], Engine]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Answer on a socket as an engine that says what it is given."""
    servers: list[socketserver.ThreadingUnixStreamServer] = []

    def start(answers: dict[str, Any]) -> Engine:
        handler = type("Answering", (Handler,), {"answers": answers})
        server = socketserver.ThreadingUnixStreamServer(str(tmp_path / "docker.sock"), handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return Engine(str(tmp_path / "docker.sock"))

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_fleet_s_containers_are_told_and_one_that_has_gone_meanwhile_is_not(serve: Serve) -> None:
    state = engine_state(serve(ANSWERS))
    common = {
        "image": f"{REPOSITORY}@sha256:1",
        "image_id": "sha256:id",
        "labels": {"flotilla.role": "endpoint"},
        "restarts": 2,
        "started": "2025-01-01T00:00:00Z",
        "settings": inspected_settings(inspected("any")),
        "newer_files": False,
        "created": 1735689600,
    }
    assert (state["engine"], state["engine_version"]) == (True, "26.1.5+dfsg1")
    assert state["engine_folder"] == "/data/docker"
    assert state["network"] == {"subnet": "169.254.83.0/24", "options": {"mtu": "1500"}}
    assert state["containers"] == {
        "one": {"running": True, "health": "healthy", **common},
        "two": {"running": False, "health": "", **common},
        "three": {"running": False, "health": "", **common},
    }


def test_the_fleet_s_images_are_told_and_which_of_them_have_been_pushed(serve: Serve) -> None:
    state = engine_state(serve(ANSWERS))
    assert state["images"] == {
        f"{REPOSITORY}:abc": "sha256:a",
        f"{REPOSITORY}:never-pushed": "sha256:b",
        f"{REPOSITORY}:twice": "sha256:c",
        f"{REPOSITORY}@sha256:1": "sha256:a",
        f"{REPOSITORY}@sha256:2": "sha256:c",
        f"{REPOSITORY}@sha256:3": "sha256:c",
        "flotilla/nginx:abc": "sha256:a",
    }
    assert state["images_made"] == {"sha256:a": 1700000000, "sha256:b": 1, "sha256:c": 2}
    assert state["published"] == {f"{REPOSITORY}:abc": f"{REPOSITORY}@sha256:1"}


def test_without_an_engine_everything_about_it_is_empty(serve: Serve, tmp_path: Path) -> None:
    nothing = engine_state(Engine(str(tmp_path / "missing.sock")))
    assert nothing.keys() == engine_state(serve(ANSWERS)).keys()
    assert not any(nothing.values())


def test_an_engine_that_refuses_to_tell_is_quoted(serve: Serve) -> None:
    with pytest.raises(ValueError, match=r"/images/json with 500: .*out of order"):
        engine_state(serve({"/_ping": "OK", "/images/json": ValueError("out of order")}))


def test_files_are_told_by_content_mode_and_owner(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    file = tmp_path / "a" / "b" / "file"
    file.write_text("one\n")
    file.chmod(0o640)
    (tmp_path / "a" / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "a" / "pipe")
    digest = "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806"
    wanted = {str(file): f"{digest}:0640:{os.getuid()}"}
    assert file_states([str(tmp_path / "a"), str(tmp_path / "missing")]) == wanted
    assert file_states([str(file)]) == wanted


def test_links_are_told_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/thing")
    (tmp_path / "file").touch()
    paths = [str(tmp_path / name) for name in ("link", "file", "missing")]
    assert link_targets(paths) == {paths[0]: "/etc/thing"}


def test_the_state_is_read_and_one_that_cannot_be_is_named_with_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert fleet_state(path) is None
    path.write_text('{"serial": 3}')
    assert fleet_state(path) == {"serial": 3}
    for broken in ('{"serial"', "[]"):
        path.write_text(broken)
        with pytest.raises(ValueError, match=r"state\.json .*copy it from another load balancer"):
            fleet_state(path)


def test_the_certificate_is_the_one_that_clients_are_shown(tmp_path: Path) -> None:
    certificate, key = issue(make_authority("test"), "frontend", "server", [], ["models.example"])
    pair = tmp_path / "pair.pem"
    pair.write_text(certificate_pem(certificate) + key_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.handle_request, daemon=True).start()
        port = server.server_address[1]
        assert shown_certificate(port) == certificate_pem(certificate)
    assert shown_certificate(port) == ""
    assert shown_certificate(0) == ""


def test_the_bridge_has_an_address_where_it_is_there() -> None:
    assert bridge_address("lo") == "127.0.0.1"
    assert bridge_address("no-such-bridge") == ""


def test_each_address_is_told_with_its_interface() -> None:
    assert own_addresses()["127.0.0.1"] == "lo"


def test_a_kernel_without_ipv6_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def socket_of(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return original(family, kind)

    original = socket.socket
    assert has_ipv6() == Path("/proc/net/if_inet6").exists()
    monkeypatch.setattr(socket, "socket", socket_of)
    assert not has_ipv6()


@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
def test_the_module_tells_all_of_it_and_changes_nothing(
    run_module: Callable[..., dict[str, Any]], check: bool, tmp_path: Path
) -> None:
    result = run_module(
        "machine_state",
        check=check,
        needs=["sh", "no-such-program", "/etc/passwd", "/etc/no", "python:json", "python:no"],
        folders=[str(tmp_path / "no")],
    )
    assert not result["changed"]
    assert result["has"] == ["sh", "/etc/passwd", "python:json"]
    assert result["files"] == {}
    told = (
        "distributions engine engine_version engine_folder engine_firewall selinux"
        " bridge network addresses ipv6 containers images images_made published has"
        " files certificates links systemd disks lock lock_silent clock firewall state registry served certificate"
    )
    assert set(told.split()) <= result.keys()
    assert result["firewall"].keys() == {"rules", "jumps"}


def test_the_images_of_the_registry_are_those_whose_manifests_it_has(tmp_path: Path) -> None:
    assert registry_digests(tmp_path) == []
    repository = tmp_path / "docker/registry/v2/repositories/flotilla/model-endpoint"
    for name in ("b", "a", "removed"):
        (repository / "_manifests/revisions/sha256" / name).mkdir(parents=True)
    for name in ("b", "a"):
        (repository / "_manifests/revisions/sha256" / name / "link").write_text(f"sha256:{name}")
    assert registry_digests(tmp_path) == ["sha256:a", "sha256:b"]


def test_the_deploy_lock_is_told_with_its_runs_last_sign_of_life(tmp_path: Path) -> None:
    assert lock_state(tmp_path) == {"lock": {}, "lock_silent": None}
    (tmp_path / "lock.json").write_text(json.dumps(owner(1)))
    beat(tmp_path, "run1", seconds_ago=40)
    held = lock_state(tmp_path)
    assert held["lock"] == owner(1)
    assert 40 <= held["lock_silent"] < 60


def test_the_certificates_of_a_file_are_told_and_its_key_is_not(tmp_path: Path) -> None:
    certificate, key = issue(make_authority("test"), "n1", "server")
    pem = certificate_pem(certificate)
    for name, text in {
        "server.pem": key_pem(key) + pem + pem,
        "client.key": key_pem(key),
        "a.crt": "-",
    }.items():
        (tmp_path / name).write_text(text)
    paths = [str(path) for path in [*tmp_path.iterdir(), tmp_path / "gone.crt"]]
    assert file_certificates(paths) == {str(tmp_path / "server.pem"): pem + pem}


def test_folders_on_one_disk_are_told_together_and_a_missing_one_is_on_that_of_the_folder_above(
    tmp_path: Path,
) -> None:
    there, missing = str(tmp_path), str(tmp_path / "a" / "b")
    disk, other = disk_space([there, "/proc", missing])
    assert (disk["folders"], other["folders"]) == ([there, missing], ["/proc"])
    assert disk["size"] > disk["free"] >= 0


def test_a_distribution_is_read_as_os_release_quotes_it(tmp_path: Path) -> None:
    path = tmp_path / "os-release"
    assert os_release(path) == {}
    path.write_text("# a comment\n\nID=debian\nVERSION_ID=\"13\"\nNAME='Debian GNU'\n")
    assert os_release(path) == {"ID": "debian", "VERSION_ID": "13", "NAME": "Debian GNU"}


def test_a_distribution_is_named_with_its_version_and_what_it_is_like() -> None:
    assert distributions({"ID": "debian", "VERSION_ID": "13"}) == ["debian-13"]
    assert distributions({"ID": "arch"}) == ["arch"]
    assert distributions({"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "24.04"})[0] == "ubuntu-24.04"
    rocky = {"ID": "rocky", "ID_LIKE": "rhel centos", "VERSION_ID": "9.6"}
    assert "rhel-9" in distributions(rocky)


def test_a_machine_that_no_image_runs_on_is_refused_with_what_it_is() -> None:
    assert unsupported("Linux", "x86_64") == ""
    assert "architecture is aarch64" in unsupported("Linux", "aarch64")
    assert "runs Darwin" in unsupported("Darwin", "arm64")
    assert "i686" in unsupported("Linux", "i686")

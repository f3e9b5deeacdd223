"""The code that modules share: files are replaced whole, compared by one text, and changed by one process at a time."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.atomic_write import write_file
from ansible_collections.flotilla.fleet.plugins.module_utils.file_state import present_state, wanted_state
from ansible_collections.flotilla.fleet.plugins.module_utils.folder_lock import locked
from ansible_collections.flotilla.fleet.plugins.module_utils.nginx_status import served_version

from unit.plugins.status_server import StatusServer

# ---- atomic_write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_written_with_its_folder_and_permissions(file: Path) -> None:
    write_file(file, "größer\r\n", mode=0o640, folder_mode=0o700)
    assert file.read_bytes() == "größer\r\n".encode()
    assert (mode(file), mode(file.parent)) == (0o640, 0o700)
    write_file(file, "")
    assert (file.read_bytes(), mode(file)) == (b"", 0o644)
    assert [entry.name for entry in file.parent.iterdir()] == ["file"]


def test_a_file_gets_its_owner_and_the_group_root(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda _, user, group: given.append((user, group)))
    write_file(file, "key", owner=10003)
    write_file(file, "key")
    assert given == [(10003, 0)]


@pytest.mark.parametrize(("durable", "on_disk"), [(False, []), (True, [b"content"])])
def test_a_durable_file_is_on_the_disk_before_it_is_in_its_place(
    file: Path, monkeypatch: pytest.MonkeyPatch, durable: bool, on_disk: list[bytes]
) -> None:
    seen: list[bytes] = []

    def fsync(descriptor: int) -> None:
        assert not file.exists()
        seen.append(Path(f"/proc/self/fd/{descriptor}").read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    write_file(file, "content", durable=durable)
    assert seen == on_disk


def test_a_secret_is_never_readable_by_others(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    fchmod = os.fchmod

    def watched(descriptor: int, wanted: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        assert os.fstat(descriptor).st_size == 0
        fchmod(descriptor, wanted)

    monkeypatch.setattr(os, "fchmod", watched)
    write_file(file, "secret", mode=0o400)
    assert modes == [0o600]
    assert mode(file) == 0o400


def test_a_file_that_cannot_be_written_stays_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(file, "old")

    def full_disk(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_file(file, "new", durable=True)
    assert file.read_text() == "old"
    assert [entry.name for entry in file.parent.iterdir()] == ["file"]


# ---- file_state


def test_a_file_is_as_wanted_once_it_is_written(file: Path) -> None:
    digest = "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806"
    assert wanted_state({"content": "one\n"}) == f"{digest}:0644:0"
    wanted = {"content": "one\n", "mode": "0400", "owner": os.getuid()}
    assert present_state(file) == ""
    write_file(file, "one\n", mode=0o400)
    assert present_state(file) == wanted_state(wanted) == f"{digest}:0400:{os.getuid()}"
    assert present_state(file) != wanted_state({**wanted, "content": "two\n"})


# ---- folder_lock


def test_a_folder_is_locked_by_one_at_a_time(tmp_path: Path) -> None:
    begun = threading.Event()

    def next_process() -> None:
        with locked(tmp_path / "folder"):
            begun.set()

    thread = threading.Thread(target=next_process)
    with locked(tmp_path / "folder"):
        thread.start()
        assert not begun.wait(0.2)
    assert begun.wait(10)
    thread.join()


# ---- nginx_status


def test_the_served_version_is_the_one_that_nginx_names_past_any_proxy(
    status_server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    status_server.version = "0c0ffee01234"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert served_version(status_server.server_port) == "0c0ffee01234"


def test_another_server_s_page_is_no_version(status_server: StatusServer) -> None:
    status_server.version = ""
    assert served_version(status_server.server_port) == ""


@pytest.mark.parametrize("port", [0, 9])
def test_where_no_nginx_answers_no_version_is_served(port: int) -> None:
    assert served_version(port) == ""

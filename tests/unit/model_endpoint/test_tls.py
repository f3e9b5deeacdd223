"""The certificates of an endpoint: checked, told apart, and watched for a change."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)

from certificates import pem
from model_endpoint.runtime import tls
from model_endpoint.runtime.settings import SettingError


class StoppedError(Exception):
    """Ends a watch, which has no end of its own."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority = make_authority("fleet")
    (tmp_path / tls.SERVER).write_text(pem(issue(authority, "endpoint-a", "server", names=["a.flotilla"])))
    (tmp_path / tls.CLIENTS).write_text(certificate_pem(authority[0]))
    return tmp_path


def renew(path: Path, content: str) -> None:
    """Replace a file as a whole."""
    part = path.with_name("part")
    part.write_text(content)
    part.replace(path)


@pytest.mark.parametrize("name", [tls.SERVER, tls.CLIENTS])
def test_a_missing_or_broken_file_is_a_setting_error_that_names_the_folder(folder: Path, name: str) -> None:
    tls.check(folder)
    (folder / name).write_text("scrambled")
    with pytest.raises(SettingError, match=str(folder)):
        tls.check(folder)
    (folder / name).unlink()
    with pytest.raises(SettingError, match=str(folder)):
        tls.check(folder)


def test_the_digest_changes_with_either_file_and_is_empty_without_a_folder(folder: Path) -> None:
    digests = [tls.digest(folder)]
    for name in (tls.SERVER, tls.CLIENTS):
        (folder / name).write_text(f"another {name}")
        digests.append(tls.digest(folder))
    assert len(set(digests)) == 3
    assert tls.digest(None) == ""


def test_the_workers_are_replaced_once_for_each_change_to_files_that_can_be_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = (folder / tls.SERVER).read_text()
    signals: list[int] = []
    changes: list[Callable[[], None]] = [
        lambda: None,
        lambda: renew(folder / tls.SERVER, "scrambled"),
        (folder / tls.CLIENTS).unlink,
        lambda: renew(folder / tls.SERVER, right),
        lambda: renew(folder / tls.CLIENTS, certificate_pem(make_authority("fleet")[0])),
        lambda: None,
    ]
    counts: list[int] = []

    def sleep(seconds: float) -> None:
        assert seconds == tls.POLL_SECONDS
        counts.append(len(signals))
        if not changes:
            raise StoppedError
        changes.pop(0)()

    monkeypatch.setattr(tls, "sleep", sleep)
    monkeypatch.setattr(os, "kill", lambda process, number: signals.append(number))
    with pytest.raises(StoppedError):
        tls._watch(folder, tls._file_states(folder))
    assert counts == [0, 0, 0, 0, 0, 1, 1]
    assert signals == [signal.SIGHUP]

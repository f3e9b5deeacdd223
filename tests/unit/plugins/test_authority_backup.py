"""A backup has the authorities and what they issued, gives them back where they are missing, and replaces nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.authority_backup import (
    RefusedError,
    restore,
    save,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.certificate_store import (
    AUTHORITIES,
    Authority,
    Store,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import issue
from ansible_collections.flotilla.fleet.plugins.plugin_utils.authorities import backup_refusal


def advance(directory: Path, *steps: str, passphrase: str = "") -> None:
    for name in AUTHORITIES:
        authority = Authority(Store(directory, passphrase), name, "CA")
        for step in steps:
            authority.advance(step)


def begin(directory: Path, passphrase: str = "") -> Path:
    """Make authorities, and a certificate that one of them issued."""
    store = Store(directory, passphrase)
    for name in AUTHORITIES:
        Authority(store, name, "CA").begin()
    store.write("endpoint-node1", issue(Authority(store, "fleet", "CA").signing(), "node1", "server"))
    return directory


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return begin(tmp_path / "ca")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_backup_gives_back_every_file_and_is_closed_to_others(
    directory: Path, folder: Path, tmp_path: Path
) -> None:
    assert len(save(folder, directory, check_mode=False)) == len(content(directory)) == 10
    assert save(folder, directory, check_mode=False) == []
    assert {path.stat().st_mode & 0o777 for path in (folder, folder / "authorities")} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in (folder / "authorities").iterdir()} == {0o600}
    elsewhere = tmp_path / "other" / "ca"
    assert len(restore(folder, elsewhere, check_mode=False)) == 10
    assert content(elsewhere) == content(directory)
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert (elsewhere / "fleet-1.key").stat().st_mode & 0o777 == 0o600
    assert restore(folder, elsewhere, check_mode=False) == []


def test_check_mode_writes_nothing(directory: Path, folder: Path, tmp_path: Path) -> None:
    assert save(folder, directory, check_mode=True)
    assert not folder.exists()
    save(folder, directory, check_mode=False)
    assert restore(folder, tmp_path / "new", check_mode=True)
    assert not (tmp_path / "new").exists()


def test_a_backup_follows_the_replacement_of_the_authorities(directory: Path, folder: Path) -> None:
    save(folder, directory, check_mode=False)
    advance(directory, "trust", "issue", "drop")
    assert str(folder / "authorities" / "fleet-1.key") in save(folder, directory, check_mode=False)
    assert content(folder / "authorities") == content(directory)


def test_authorities_that_were_replaced_since_the_backup_stay(directory: Path, folder: Path) -> None:
    save(folder, directory, check_mode=False)
    advance(directory, "trust")
    before = content(directory)
    with pytest.raises(RefusedError, match=r"holds authorities of the fleet “ca”.* nothing is replaced"):
        restore(folder, directory, check_mode=False)
    assert content(directory) == before


def test_the_backup_of_another_fleet_is_not_overwritten(
    directory: Path, folder: Path, tmp_path: Path
) -> None:
    save(folder, begin(tmp_path / "first"), check_mode=False)
    before = content(folder / "authorities")
    with pytest.raises(RefusedError, match=r"backup of the fleet “first”.* belongs to the fleet “ca”"):
        save(folder, directory, check_mode=False)
    assert content(folder / "authorities") == before


def test_a_folder_that_others_may_enter_is_refused(directory: Path, folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o750)
    with pytest.raises(RefusedError, match=f"chmod 0700 {folder}"):
        save(folder, directory, check_mode=False)
    assert list(folder.iterdir()) == []


def test_what_is_no_whole_fleet_is_refused(directory: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="holds no key of the authority fleet"):
        restore(folder, tmp_path / "new", check_mode=False)
    (directory / "builder-1.key").unlink()
    with pytest.raises(RefusedError, match="holds no key of the authority builder"):
        save(folder, directory, check_mode=False)
    assert not folder.exists()


def test_keys_stay_encrypted_and_a_vault_s_are_to_be_decrypted(folder: Path, tmp_path: Path) -> None:
    save(folder, begin(tmp_path / "ca", "secret"), check_mode=False)
    key = folder / "authorities" / "fleet-1.key"
    assert "ENCRYPTED" in key.read_text()
    key.write_text("$ANSIBLE_VAULT;1.1;AES256\n33\n")
    with pytest.raises(RefusedError, match="ansible-vault decrypt"):
        restore(folder, tmp_path / "new", check_mode=False)
    assert not (tmp_path / "new").exists()


def test_a_backup_is_refused_where_a_machine_has_certificates_of_another_fleet(
    directory: Path, tmp_path: Path
) -> None:
    other = begin(tmp_path / "other")
    groups = {"load_balancers": ["lb1"], "model_nodes": ["node1"]}

    def refused(found: Path) -> str:
        trusted = {"/etc/flotilla/endpoints/node1/clients.crt": (found / "balancers-1.crt").read_text()}
        machine = {"files": {}, "certificates": trusted}
        return backup_refusal({"lb1": {}, "node1": {"flotilla_machine": machine}}, groups, str(directory))

    assert refused(directory) == ""
    assert refused(other).startswith("node1: has certificates of the fleet “other”")

"""A second controller takes over with a backup's authorities, and finds nothing to do."""

from pathlib import Path

import pytest

from fleet.deploy import FAILED, FINE, deploy, live
from fleet.fleet import Fleet
from fleet.lost.machines import nothing_lost
from fleet.playbook import attempt_playbook, run_playbook

BACKUP, RESTORE = "playbooks/backup.yml", "playbooks/restore.yml"


@pytest.fixture(scope="module")
def folder(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the fleet."""
    folder = tmp_path_factory.mktemp("backup") / "fleet"
    assert sum(run_playbook(BACKUP, fleet.inventory, "-e", f"folder={folder}").values())
    return folder


def test_a_backup_is_closed_is_made_once_and_shows_no_secret(fleet: Fleet, folder: Path) -> None:
    modes = {path: path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    keys = [path.read_text() for path in fleet.authorities.glob("*.key")]
    assert len(keys) > len(fleet.machines)
    assert {(folder / "authorities" / path.name).read_text() for path in fleet.authorities.glob("*.key")} == {
        *keys
    }
    assert not sum(run_playbook(BACKUP, fleet.inventory, "-e", f"folder={folder}").values())
    # Into an empty folder, with all that a run can be asked to show.
    other = folder.with_name("shown")
    options = ("-vvv", "--diff", "-e", f"folder={other}")
    code, output = attempt_playbook(BACKUP, fleet.inventory, *options, "--check")
    assert (code, other.exists()) == (FINE, False), output[-6000:]
    code, shown = attempt_playbook(BACKUP, fleet.inventory, *options)
    assert code == FINE, shown[-6000:]
    assert str(other / "authorities" / "fleet-1.key") in shown
    for key in keys:
        for line in key.splitlines()[1:-1]:
            assert line not in output + shown


def test_a_second_controller_finds_nothing_to_do(fleet: Fleet, folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "controller" / "internal_ca"
    # In its inventory: what comes by -e is noted in the state.
    own = {machine.name: {"internal_ca_directory": str(elsewhere)} for machine in fleet.machines}
    second = fleet.with_nodes({node.name: {} for node in fleet.nodes}, own)
    release = live(fleet)
    with nothing_lost(*fleet.load_balancers):
        assert deploy(second).code == FAILED
        checked = deploy(second, RESTORE, None, "--check", folder=str(folder))
        assert (checked.code, elsewhere.exists()) == (FINE, False), checked.output[-6000:]
        restored = deploy(second, RESTORE, folder=str(folder))
        restored.assert_ended(FINE, "restored")
        assert "the load balancers have a state, which stays" in restored.verdict["message"]
        found = deploy(second)
    found.assert_ended(FINE, "unchanged")
    assert found.changed == 0, found.output[-6000:]
    assert live(fleet) == release
    # The first controller is still one of the fleet's.
    assert deploy(fleet).changed == 0

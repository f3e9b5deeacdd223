"""A fleet is restored from its backup: to empty load balancers before nodes that run, and then to other machines."""

from pathlib import Path

from fleet.deploy import FINE, deploy, live, state
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.lost.machines import assert_whole, replace
from fleet.playbook import attempt_playbook, run_playbook

BACKUP, RESTORE = "playbooks/backup.yml", "playbooks/restore.yml"


def test_empty_load_balancers_know_the_releases_that_can_be_gone_back_to(
    fleet: Fleet, new_model: Path, tmp_path: Path
) -> None:
    deploy(fleet, source=new_model).assert_ended(FINE, "released")
    deploy(fleet).assert_ended(FINE, "released")
    known = state(fleet, "lb1")
    run_playbook(BACKUP, fleet.inventory, "-e", f"folder={tmp_path / 'backup'}")
    for balancer in fleet.load_balancers:
        replace(balancer)
    restored = deploy(fleet, RESTORE, folder=str(tmp_path / "backup"))
    restored.assert_ended(FINE, "restored")
    assert f"{known['live']['id']} is live" in restored.verdict["message"]
    again = deploy(fleet, RESTORE, folder=str(tmp_path / "backup"))
    assert (again.code, again.changed) == (FINE, 0), again.output[-6000:]
    # The first of them was the builder: the registry is filled again, and the release started anew.
    deploy(fleet).assert_ended(FINE, "released")
    assert_whole(fleet)
    assert state(fleet, "lb1")["previous"][0]["id"] == known["previous"][0]["id"]
    deploy(fleet, "playbooks/rollback.yml").assert_ended(FINE, "rolled back")
    assert live(fleet) == known["previous"][0]["id"]
    deploy(fleet).assert_ended(FINE, "released")
    assert_whole(fleet)


def test_a_fleet_is_restored_on_other_machines(fleet: Fleet, tmp_path: Path) -> None:
    """The last test: nothing is left of the machines that Molecule made."""
    folder, authorities = tmp_path / "backup", tmp_path / "controller" / "internal_ca"
    drained = fleet.nodes[-1].name
    deploy(fleet, "playbooks/drain.yml", node=drained).assert_ended(FINE, "changed")
    known, trusted = state(fleet, "lb1"), (fleet.authorities / "fleet-1.crt").read_text()
    run_playbook(BACKUP, fleet.inventory, "-e", f"folder={folder}")

    network = fleet.load_balancer.address.rpartition(".")[0]
    addresses = {machine.name: f"{network}.{20 + number}" for number, machine in enumerate(fleet.machines)}
    for machine in fleet.machines:
        replace(machine, addresses[machine.name])
    elsewhere = fleet.with_nodes(
        {node.name: {} for node in fleet.nodes},
        {
            name: {"ansible_host": address, "internal_ca_directory": str(authorities)}
            for name, address in addresses.items()
        },
    )
    restored = deploy(elsewhere, RESTORE, folder=str(folder))
    restored.assert_ended(FINE, "restored")
    assert f"no node runs {known['live']['id']}" in restored.verdict["message"]
    deploy(elsewhere).assert_ended(FINE, "released")
    assert (authorities / "fleet-1.crt").read_text() == trusted
    now = state(elsewhere, "lb1")
    assert now["live"]["image"] == known["live"]["image"]
    assert now["previous"][0]["id"] == known["live"]["id"]
    assert now["drained"] == [drained]
    deploy(elsewhere, "playbooks/undrain.yml", node=drained).assert_ended(FINE, "changed")
    assert_whole(elsewhere)
    code, history = attempt_playbook("playbooks/history.yml", elsewhere.inventory, "-e", "entries=99")
    assert code == FINE, history
    assert f"changed      drain.yml of {drained}" in history
    # The images of the releases before are made from their checkouts. That of the live one is there.
    with under_load(elsewhere.urls, rate=50) as load:
        deploy(elsewhere, "playbooks/rollback.yml", release=known["live"]["id"]).assert_ended(
            FINE, "rolled back"
        )
        load.during(1)
    load.record().assert_nothing_lost()
    assert live(elsewhere) == known["live"]["id"]

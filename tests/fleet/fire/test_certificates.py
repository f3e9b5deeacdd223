"""Certificates, and the authorities that sign them, are exchanged while requests are answered."""

from pathlib import Path

from fleet import steps
from fleet.deploy import FAILED, FINE, Deployment, deploy
from fleet.fleet import Fleet
from fleet.load import under_load

ROTATE = "playbooks/rotate_certificates.yml"


def shown(fleet: Fleet) -> dict[str, str]:
    """Return the certificates that the fleet shows and trusts, by machine and file."""
    found: dict[str, str] = {}
    for machine in fleet.machines:
        listing = "find /etc/flotilla /etc/docker/certs.d -name '*.crt' -o -name '*.pem' -o -name 'client.*'"
        for path in machine.run("sh", "-c", listing).split():
            found[f"{machine.name} {path}"] = machine.run("cat", path)
    return found


def assert_exchanged(fleet: Fleet, before: dict[str, str]) -> None:
    """Check that none of the certificates is in use any more, that one authority is trusted each, and all is done."""
    after = shown(fleet)
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] == before[name]] == []
    assert [
        name for name in after if after[name].count("BEGIN CERTIFICATE") != ("client.key" not in name)
    ] == []
    assert len(list(fleet.authorities.glob("fleet-*.crt"))) == 1
    again = deploy(fleet)
    again.assert_ended(FINE, "unchanged")
    assert again.changed == 0


def test_all_certificates_and_authorities_are_exchanged(fleet: Fleet, first: str) -> None:
    before = shown(fleet)
    with under_load(fleet.urls) as load:
        deploy(fleet, ROTATE).assert_ended(FINE, "changed")
        load.during(2)
    load.record().assert_nothing_lost()
    assert set(load.record().by_release()) == {first}
    assert load.record().by_endpoint().keys() == fleet.weights().keys()
    assert_exchanged(fleet, before)


def test_a_rotation_that_is_killed_again_and_again_is_finished_by_the_next(fleet: Fleet) -> None:
    before = shown(fleet)
    with under_load(fleet.urls) as load:
        for step in (1, 2, 3):
            for play in (steps.INSTALL_CERTIFICATES, steps.APPLY_CERTIFICATES):
                run = Deployment(fleet, ROTATE)
                run.wait_for_play(play, times=step)
                run.kill()
                load.during(2)
                # What is half done works with any other run, too.
                assert deploy(fleet).code == FINE
                load.during(2)
        deploy(fleet, ROTATE).assert_ended(FINE, "changed")
        load.during(2)
    load.record().assert_nothing_lost()
    assert_exchanged(fleet, before)


def test_a_rotation_without_a_node_stops_and_loses_nothing(fleet: Fleet) -> None:
    node = fleet.machine("node2")
    before = shown(fleet)
    with under_load(fleet.urls) as load:
        node.cut_off()
        try:
            outcome = deploy(fleet, ROTATE)
        finally:
            node.plug_in()
        assert outcome.code == FAILED
        assert f"{node.name}: not every host could be given its certificates" in outcome.output
        # Back, it serves with what it had, which is trusted still.
        load.during(4)
        deploy(fleet, ROTATE).assert_ended(FINE, "changed")
        load.during(2)
    load.record().assert_nothing_lost()
    assert_exchanged(fleet, before)


def test_a_renewed_certificate_comes_into_effect_with_any_run(fleet: Fleet) -> None:
    node, balancer = fleet.nodes[0], fleet.load_balancer
    before = shown(fleet)
    for name in (f"endpoint-{node.name}", f"balancer-{balancer.name}"):
        (fleet.authorities / f"{name}.key").unlink()
    with under_load(fleet.urls) as load:
        deploy(fleet).assert_ended(FINE, "changed")
        load.during(20)  # the workers of the node are replaced meanwhile
    load.record().assert_nothing_lost()
    after = shown(fleet)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {
        f"{node.name} /etc/flotilla/endpoints/{node.name}/server.pem",
        f"{balancer.name} /etc/flotilla/nginx/tls/client.pem",
    }
    deploy(fleet).assert_ended(FINE, "unchanged")


def test_another_controller_does_not_make_authorities_of_its_own(fleet: Fleet, tmp_path: Path) -> None:
    before = shown(fleet)
    outcome = deploy(fleet, internal_ca_directory=str(tmp_path / "elsewhere"))
    assert outcome.code == FAILED
    assert "copy this folder from the controller that has it" in " ".join(outcome.output.split())
    assert shown(fleet) == before
    assert not (tmp_path / "elsewhere").exists()
    deploy(fleet).assert_ended(FINE, "unchanged")

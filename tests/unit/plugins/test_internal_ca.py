"""The internal authorities: run as the module itself, and judged by OpenSSL's own rules through cryptography."""

from __future__ import annotations

import datetime
import ipaddress
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import issue, make_authority, still_good
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

Run = Callable[..., dict[str, Any]]
REGISTRY = {"name": "registry", "usage": "server", "addresses": ["10.0.0.1"]}
ENDPOINT = {"name": "endpoint-node_1", "usage": "server", "names": ["node_1.endpoint.flotilla"]}
MACHINE = {"name": "machine-10.0.0.2", "usage": "client"}
BALANCER = {"name": "balancer-lb1", "usage": "client", "authority": "balancers"}
BUILDER = {"name": "builder", "usage": "client", "authority": "builder"}
MONITORING = {"name": "monitoring", "usage": "client", "authority": "monitoring"}
ALL = (REGISTRY, ENDPOINT, MACHINE, BALANCER, BUILDER, MONITORING)
AUTHORITIES = {
    "fleet": "machine-10.0.0.2",
    "balancers": "balancer-lb1",
    "builder": "builder",
    "monitoring": "monitoring",
}
"""With one of the certificates that each of them signs."""


@pytest.fixture
def run(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> Run:
    def run(*certificates: dict[str, Any], check: bool = False, **arguments: Any) -> dict[str, Any]:
        return run_module(
            "internal_ca",
            check=check,
            directory=str(tmp_path / "ca"),
            common_name="Test CA",
            certificates=list(certificates),
            **arguments,
        )

    return run


def certificate(result: dict[str, Any], name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(result["certificates"][name]["certificate"].encode())


def trusted(result: dict[str, Any], authority: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(result["authorities"][authority].encode())


def verify_server(result: dict[str, Any], name: str, subject: x509.DNSName | x509.IPAddress) -> None:
    policy = PolicyBuilder().store(Store(trusted(result, "fleet")))
    policy.build_server_verifier(subject).verify(certificate(result, name), [])


def trusts(trusting: dict[str, Any], authority: str, shown: dict[str, Any], name: str) -> bool:
    """Tell whether who trusts an authority, as `trusting` has it, takes the certificate that `shown` issued."""
    found = certificate(shown, name)

    def signed_by(anchor: x509.Certificate) -> bool:
        try:
            found.verify_directly_issued_by(anchor)
        except (InvalidSignature, ValueError):
            return False
        return True

    return any(map(signed_by, trusted(trusting, authority)))


def test_a_second_run_changes_nothing_and_keys_are_private(run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    first = run(*ALL)
    second = run(*ALL)
    assert first["changed"]
    assert not second["changed"]
    assert first["certificates"] == second["certificates"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(key.stat().st_mode) for key in directory.glob("*.key")} == {0o600}
    assert len(list(directory.glob("*.key"))) == len(ALL) + len(AUTHORITIES)


def test_a_server_s_certificate_holds_for_its_address_or_name_and_for_no_other(run: Run) -> None:
    result = run(*ALL)
    verify_server(result, "registry", x509.IPAddress(ipaddress.ip_address("10.0.0.1")))
    assert certificate(result, "endpoint-node_1").extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value.get_values_for_type(x509.DNSName) == ["node_1.endpoint.flotilla"]
    for name, subject in (
        ("registry", x509.IPAddress(ipaddress.ip_address("10.0.0.2"))),
        ("endpoint-node_1", x509.IPAddress(ipaddress.ip_address("10.0.0.1"))),
        ("endpoint-node_1", x509.DNSName("node-2.endpoint.flotilla")),
        ("machine-10.0.0.2", x509.IPAddress(ipaddress.ip_address("10.0.0.2"))),
    ):
        with pytest.raises(VerificationError):
            verify_server(result, name, subject)


def test_who_trusts_one_authority_trusts_what_it_signs_and_nothing_else(run: Run) -> None:
    result = run(*ALL)
    for authority in AUTHORITIES:
        taken = {entry["name"] for entry in ALL if trusts(result, authority, result, str(entry["name"]))}
        assert taken == {entry["name"] for entry in ALL if entry.get("authority", "fleet") == authority}


def test_the_authority_of_metrics_is_made_once_it_is_wanted_and_then_left_alone(
    run: Run, tmp_path: Path
) -> None:
    before = run(*(entry for entry in ALL if entry != MONITORING))
    assert before["authorities"].keys() == AUTHORITIES.keys() - {"monitoring"}
    assert not list((tmp_path / "ca").glob("monitoring*"))
    # The machines have certificates, so the run may begin no other authority.
    wanted = run(*ALL, may_begin=False)
    assert before["authorities"].items() <= wanted["authorities"].items()
    assert trusts(wanted, "monitoring", wanted, "monitoring")
    without = run(*(entry for entry in ALL if entry != MONITORING), step="trust")
    assert "monitoring" not in without["authorities"]
    again = run(*ALL)
    assert again["certificates"]["monitoring"] == wanted["certificates"]["monitoring"]


def test_only_what_changed_is_issued_anew(run: Run) -> None:
    before = run(*ALL)
    after = run(
        {**REGISTRY, "addresses": ["10.0.0.9"]},
        {**ENDPOINT, "names": ["n.endpoint.flotilla"]},
        BUILDER,
        MACHINE,
        BALANCER,
        MONITORING,
    )
    assert after["changed"]
    assert after["authorities"] == before["authorities"]
    changed = {
        name for name in before["certificates"] if before["certificates"][name] != after["certificates"][name]
    }
    assert changed == {"registry", "endpoint-node_1"}


def test_a_name_may_be_as_long_as_an_inventory_s(run: Run) -> None:
    name = "n" * 63
    long = {"name": f"endpoint-{name}", "usage": "server", "names": [f"{name}.endpoint.flotilla"]}
    verify_server(run(long), f"endpoint-{name}", x509.DNSName(f"{name}.endpoint.flotilla"))


def test_a_certificate_near_its_end_is_issued_anew(run: Run) -> None:
    before = run(MACHINE)
    assert run(MACHINE, renew_days=700)["certificates"] == before["certificates"]
    assert run(MACHINE, renew_days=800)["certificates"] != before["certificates"]
    assert 3600 < before["days_left"] < 3650


def test_a_key_that_a_killed_run_left_without_its_certificate_is_not_used(run: Run, tmp_path: Path) -> None:
    first = run(MACHINE, REGISTRY)
    (tmp_path / "ca" / "registry.key").replace(tmp_path / "ca" / "machine-10.0.0.2.key")
    second = run(MACHINE)
    key = serialization.load_pem_private_key(
        second["certificates"]["machine-10.0.0.2"]["private_key"].encode(), None
    )
    assert key.public_key() == certificate(second, "machine-10.0.0.2").public_key()
    assert second["certificates"]["machine-10.0.0.2"] != first["certificates"]["machine-10.0.0.2"]


def test_check_mode_issues_in_memory_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    result = run(REGISTRY, check=True)
    assert result["changed"]
    assert certificate(result, "registry").not_valid_after_utc > datetime.datetime.now(datetime.UTC)
    assert not (tmp_path / "ca").exists()


def test_a_file_that_is_no_certificate_is_named(run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    run(REGISTRY)
    (directory / "registry.crt").write_text("scrambled")
    result = run(REGISTRY)
    assert result["failed"]
    assert str(directory / "registry.crt") in result["msg"]
    assert "remove it and its .key" in result["msg"]


def test_another_authority_s_certificate_is_not_good() -> None:
    ours, theirs = make_authority("ours"), make_authority("ours")
    found, _ = issue(theirs, "machine", "client")
    assert still_good(found, theirs[0], "client")
    assert not still_good(found, ours[0], "client")
    assert not still_good(found, theirs[0], "server")


def test_no_authority_is_made_where_the_machines_have_another_s_certificates(
    run: Run, tmp_path: Path
) -> None:
    result = run(REGISTRY, may_begin=False)
    assert result["failed"]
    assert str(tmp_path / "ca") in result["msg"]
    assert "-e internal_ca_lost=true" in result["msg"]
    assert not (tmp_path / "ca").exists()
    run(REGISTRY)
    assert not run(REGISTRY, may_begin=False)["changed"]


def test_a_passphrase_encrypts_every_key_those_that_were_there_as_well(run: Run, tmp_path: Path) -> None:
    plain = run(*ALL)
    hidden = run(*ALL, passphrase="correct horse")
    assert hidden["changed"]
    assert not run(*ALL, passphrase="correct horse")["changed"]
    # The fleet gets what it had.
    assert hidden["certificates"] == plain["certificates"]
    assert "correct horse" not in json.dumps(hidden["certificates"] | hidden["authorities"])
    keys = list((tmp_path / "ca").glob("*.key"))
    assert len(keys) == len(ALL) + len(AUTHORITIES)
    for key in keys:
        assert "BEGIN ENCRYPTED PRIVATE KEY" in key.read_text()
        assert serialization.load_pem_private_key(key.read_bytes(), b"correct horse")


@pytest.mark.parametrize("passphrase", ["", "battery staple"])
def test_a_wrong_or_missing_passphrase_is_named(run: Run, passphrase: str) -> None:
    run(REGISTRY, passphrase="correct horse")
    result = run(REGISTRY, passphrase=passphrase)
    assert result["failed"]
    assert "set internal_ca_passphrase to what it was encrypted with" in result["msg"]


def test_authorities_are_replaced_in_steps_each_of_which_trusts_what_is_in_use(run: Run) -> None:
    before = run(*ALL)
    begun = run(*ALL, step="trust")
    issued = run(*ALL, step="issue")
    over = run(*ALL, step="drop")
    # Nothing new is shown before everybody trusts it, and nothing old is distrusted while anybody shows it.
    assert begun["certificates"] == before["certificates"]
    assert set(issued["authorities"].values()) == set(begun["authorities"].values())
    assert over["certificates"] == issued["certificates"]
    for name in before["certificates"]:
        assert issued["certificates"][name]["private_key"] != before["certificates"][name]["private_key"]
    for authority, name in AUTHORITIES.items():
        assert [len(trusted(result, authority)) for result in (before, begun, issued, over)] == [1, 2, 2, 1]
        assert all(trusts(trusting, authority, before, name) for trusting in (before, begun, issued))
        assert all(trusts(trusting, authority, issued, name) for trusting in (begun, issued, over))
        assert not trusts(over, authority, before, name)
        assert not trusts(before, authority, issued, name)


def test_a_step_that_was_taken_is_taken_once_and_other_runs_leave_it_as_it_is(run: Run) -> None:
    run(*ALL)
    for step in ("trust", "issue", "drop"):
        taken = run(*ALL, step=step)
        assert taken["changed"]
        # Of a run that was killed after the step, the next begins at the first again, or is one of site.yml.
        for again in ("keep", *(("trust", step) if step != "drop" else ("drop",))):
            repeated = run(*ALL, step=again)
            assert not repeated["changed"], (step, again)
            assert repeated["certificates"] == taken["certificates"]
            assert repeated["authorities"] == taken["authorities"]


def test_a_step_that_reached_one_authority_alone_is_made_good(run: Run, tmp_path: Path) -> None:
    run(*ALL)
    run(*ALL, step="trust")
    (tmp_path / "ca" / "fleet-1.key").unlink()  # as a killed run leaves them
    half = run(*ALL)
    assert [len(trusted(half, name)) for name in AUTHORITIES] == [2] * len(AUTHORITIES)
    assert trusts(half, "balancers", half, "balancer-lb1")
    for step in ("trust", "issue", "drop"):
        over = run(*ALL, step=step)
    assert [len(trusted(over, name)) for name in AUTHORITIES] == [1] * len(AUTHORITIES)
    assert trusts(over, "fleet", over, "machine-10.0.0.2")


def test_check_mode_shows_a_step_and_takes_none(run: Run) -> None:
    before = run(*ALL)
    for step in ("trust", "issue", "drop"):
        run(*ALL, step=step, check=True)
    after = run(*ALL)
    assert not after["changed"]
    assert after["certificates"] == before["certificates"]

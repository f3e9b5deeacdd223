"""The internal authority: run as the module itself, and judged by OpenSSL's own rules through cryptography."""

from __future__ import annotations

import datetime
import ipaddress
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from modules.internal_ca import issue, make_authority, still_good

Run = Callable[..., dict[str, Any]]
REGISTRY = {"name": "registry", "usage": "server", "addresses": ["10.0.0.1"]}
MACHINE = {"name": "machine-10.0.0.2", "usage": "client"}


@pytest.fixture
def run(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> Run:
    def run(*certificates: dict[str, Any], check: bool = False, renew_days: int = 90) -> dict[str, Any]:
        return run_module(
            "internal_ca",
            check=check,
            directory=str(tmp_path / "ca"),
            common_name="Test CA",
            certificates=list(certificates),
            renew_days=renew_days,
        )

    return run


def certificate(result: dict[str, Any], name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(result["certificates"][name]["certificate"].encode())


def test_a_second_run_changes_nothing_and_keys_are_private(run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    first = run(REGISTRY, MACHINE)
    second = run(REGISTRY, MACHINE)
    assert first["changed"]
    assert not second["changed"]
    assert first["certificates"] == second["certificates"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(key.stat().st_mode) for key in directory.glob("*.key")} == {0o600}


def test_a_server_s_certificate_holds_for_its_address_and_for_no_other(run: Run) -> None:
    result = run(REGISTRY, MACHINE)
    authority = x509.load_pem_x509_certificate(result["authority"].encode())
    policy = PolicyBuilder().store(Store([authority]))

    def verify(name: str, address: str) -> None:
        subject = x509.IPAddress(ipaddress.ip_address(address))
        policy.build_server_verifier(subject).verify(certificate(result, name), [])

    verify("registry", "10.0.0.1")
    with pytest.raises(VerificationError):
        verify("registry", "10.0.0.2")
    with pytest.raises(VerificationError):
        verify("machine-10.0.0.2", "10.0.0.2")


def test_a_server_s_certificate_holds_for_its_names(run: Run) -> None:
    door = {"name": "door", "usage": "server", "addresses": ["10.0.0.1"], "names": ["models.example"]}
    result = run(door)
    authority = x509.load_pem_x509_certificate(result["authority"].encode())
    verifier = PolicyBuilder().store(Store([authority]))
    verifier.build_server_verifier(x509.DNSName("models.example")).verify(certificate(result, "door"), [])
    with pytest.raises(VerificationError):
        verifier.build_server_verifier(x509.DNSName("other.example")).verify(certificate(result, "door"), [])
    assert not run(door)["changed"]
    assert run({**door, "names": ["other.example"]})["changed"]


def test_only_what_changed_is_issued_anew(run: Run) -> None:
    before = run(REGISTRY, MACHINE)
    after = run({**REGISTRY, "addresses": ["10.0.0.9"]}, MACHINE)
    assert after["changed"]
    assert after["authority"] == before["authority"]
    assert after["certificates"]["registry"] != before["certificates"]["registry"]
    assert after["certificates"]["machine-10.0.0.2"] == before["certificates"]["machine-10.0.0.2"]


def test_a_certificate_near_its_end_is_issued_anew(run: Run) -> None:
    before = run(MACHINE)
    after = run(MACHINE, renew_days=800)
    assert after["certificates"] != before["certificates"]


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
    assert "remove both" in result["msg"]


def test_another_authority_s_certificate_is_not_good() -> None:
    ours, theirs = make_authority("ours"), make_authority("ours")
    pair = issue(theirs, "machine", "client", [], [])
    assert still_good(pair[0], theirs[0], "client", [], [], 90)
    assert not still_good(pair[0], ours[0], "client", [], [], 90)
    assert not still_good(pair[0], theirs[0], "server", [], [], 90)

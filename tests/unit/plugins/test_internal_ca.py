"""The internal authority: run as the module itself, and judged by OpenSSL's own rules through cryptography."""

from __future__ import annotations

import datetime
import ipaddress
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from modules.internal_ca import issue, make_authority, still_good

MODULE = Path(__file__).parents[3] / "plugins" / "modules" / "internal_ca.py"
REGISTRY = {"name": "registry", "usage": "server", "addresses": ["10.0.0.1"]}
MACHINE = {"name": "machine-10.0.0.2", "usage": "client"}


def run(
    directory: Path, *certificates: dict[str, Any], check: bool = False, renew_days: int = 90
) -> dict[str, Any]:
    """Run the module as Ansible does, and return its result."""
    arguments = {
        "ANSIBLE_MODULE_ARGS": {
            "directory": str(directory),
            "common_name": "Test CA",
            "certificates": list(certificates),
            "renew_days": renew_days,
            "_ansible_check_mode": check,
            "_ansible_remote_tmp": str(directory.parent),
        }
    }
    # Where Ansible hands a module its arguments without its own packaging: as JSON on standard input.
    process = subprocess.run(
        [sys.executable, str(MODULE)],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    result: dict[str, Any] = json.loads(process.stdout.strip().splitlines()[-1])
    return result


def certificate(result: dict[str, Any], name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(result["certificates"][name]["certificate"].encode())


def test_a_second_run_changes_nothing_and_keys_are_private(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    first = run(directory, REGISTRY, MACHINE)
    second = run(directory, REGISTRY, MACHINE)
    assert first["changed"]
    assert not second["changed"]
    assert first["certificates"] == second["certificates"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(key.stat().st_mode) for key in directory.glob("*.key")} == {0o600}


def test_a_server_s_certificate_holds_for_its_address_and_for_no_other(tmp_path: Path) -> None:
    result = run(tmp_path / "ca", REGISTRY, MACHINE)
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


def test_only_what_changed_is_issued_anew(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    before = run(directory, REGISTRY, MACHINE)
    after = run(directory, {**REGISTRY, "addresses": ["10.0.0.9"]}, MACHINE)
    assert after["changed"]
    assert after["authority"] == before["authority"]
    assert after["certificates"]["registry"] != before["certificates"]["registry"]
    assert after["certificates"]["machine-10.0.0.2"] == before["certificates"]["machine-10.0.0.2"]


def test_a_certificate_near_its_end_is_issued_anew(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    before = run(directory, MACHINE)
    after = run(directory, MACHINE, renew_days=800)
    assert after["certificates"] != before["certificates"]


def test_check_mode_issues_in_memory_and_writes_nothing(tmp_path: Path) -> None:
    result = run(tmp_path / "ca", REGISTRY, check=True)
    assert result["changed"]
    assert certificate(result, "registry").not_valid_after_utc > datetime.datetime.now(datetime.UTC)
    assert not (tmp_path / "ca").exists()


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    run(directory, REGISTRY)
    (directory / "registry.crt").write_text("scrambled")
    result = run(directory, REGISTRY)
    assert result["failed"]
    assert str(directory / "registry.crt") in result["msg"]
    assert "remove both" in result["msg"]


def test_another_authority_s_certificate_is_not_good() -> None:
    ours, theirs = make_authority("ours"), make_authority("ours")
    pair = issue(theirs, "machine", "client", [])
    assert still_good(pair[0], theirs[0], "client", [], 90)
    assert not still_good(pair[0], ours[0], "client", [], 90)
    assert not still_good(pair[0], theirs[0], "server", [], 90)

"""Secrets go where they are needed, and are seen nowhere on the way."""

import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from fleet.deploy import FINE, Outcome, deploy, live
from fleet.fleet import Fleet
from fleet.frontend import status
from fleet.machine import Machine

KEY = "planted-key-1b9d6f3e8c2a7045"
VAULT_PASSWORD = "planted-vault-password-44e0c6"
CA_PASSPHRASE = "planted-passphrase-9c31ab"
PLANTED = {KEY, VAULT_PASSWORD, CA_PASSPHRASE}
# Besides its own processes, which would find themselves.
PATTERNS = "/run/patterns"
# What a machine shows of itself, and what is in the layers of its images.
SHOWN = """
docker ps --all --quiet | while read container; do docker inspect $container; docker logs $container 2>&1; done
docker images --quiet | sort --unique | while read image; do
  docker inspect $image; docker history --no-trunc $image; docker save $image
done
ps -eww -o args
find /var/lib/flotilla /var/log -type f -exec cat {} +
if command -v journalctl >/dev/null; then journalctl --no-pager --quiet; fi
"""
PRIVATE_KEYS = (
    "grep -rlsa 'PRIVATE KEY-----' /etc/flotilla /etc/docker /var/lib/flotilla | xargs -r sed -sn 3p"
)


def private_keys(fleet: Fleet) -> set[str]:
    """Return a line out of each private key of the fleet: those of the authority's folder, and the machines'."""
    texts = [path.read_text(errors="replace") for path in fleet.authorities.rglob("*") if path.is_file()]
    held = {text.splitlines()[2] for text in texts if "PRIVATE KEY-----" in text}
    for machine in fleet.machines:
        held |= set(machine.run("sh", "-c", PRIVATE_KEYS).split())
    return held


def shown(machine: Machine, words: Sequence[str]) -> set[str]:
    """Return those of some words that a machine shows in its processes, logs, containers or images."""
    machine.run("tee", PATTERNS, stdin="\n".join(words))
    try:
        found = machine.run("sh", "-c", f"{{ {SHOWN} }} | grep -aoFf {PATTERNS} | sort --unique")
    finally:
        machine.run("rm", PATTERNS)
    return set(found.splitlines())


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """Collect the command lines of all processes, which the fleet's machines run on this one, while the block runs."""
    seen: set[str] = set()
    over = threading.Event()

    def collect() -> None:
        while not over.wait(0.2):
            listing = subprocess.run(
                ["ps", "-eww", "-o", "args="], check=True, capture_output=True, text=True
            )
            seen.update(listing.stdout.splitlines())

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        yield seen
    finally:
        over.set()
        collector.join()


@pytest.fixture(scope="module")
def planted(
    fleet: Fleet, new_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Outcome, set[str]]]:
    """A release, deployed with secrets from the vault: how the run ended, and the command lines there were."""
    folder = tmp_path_factory.mktemp("secrets")
    password, vault, keys = folder / "password", folder / "vault.yml", folder / "authority"
    password.write_text(VAULT_PASSWORD)
    secrets = {"nginx_lb_api_keys": {"planted": KEY}, "internal_ca_passphrase": CA_PASSPHRASE}
    vault.write_text(yaml.safe_dump(secrets))
    with_password = ("--vault-password-file", str(password))
    subprocess.run(["ansible-vault", "encrypt", *with_password, str(vault)], check=True, capture_output=True)
    # The fleet's own folder stays without a passphrase, which the runs of other tests don't know.
    shutil.copytree(fleet.authorities, keys)
    options = ("--diff", "-vvv", *with_password, "--extra-vars", f"@{vault}")
    with command_lines() as lines:
        outcome = deploy(fleet, "site.yml", new_model, *options, internal_ca_directory=str(keys))
    assert {path.read_text().splitlines()[0] for path in keys.rglob("*.key")} == {
        "-----BEGIN ENCRYPTED PRIVATE KEY-----"
    }
    yield outcome, lines
    deploy(fleet).assert_ended(FINE, "released")


def test_a_key_from_the_vault_opens(fleet: Fleet, planted: tuple[Outcome, set[str]]) -> None:
    outcome, _ = planted
    outcome.assert_ended(FINE, "released")
    assert status(fleet, X_API_Key=KEY) == 200
    assert status(fleet, X_API_Key=VAULT_PASSWORD) == 401


def test_no_secret_is_in_what_the_run_said_or_started(
    fleet: Fleet, planted: tuple[Outcome, set[str]]
) -> None:
    outcome, lines = planted
    secrets = PLANTED | private_keys(fleet)
    assert len(secrets) > len(PLANTED) + len(fleet.machines)
    assert any("ansible-playbook" in line for line in lines)
    said = "\n".join([outcome.output, str(outcome.verdict), *lines])
    assert outcome.verdict["live"] in said
    assert not {secret for secret in secrets if secret in said}


def test_no_secret_is_shown_by_a_machine(fleet: Fleet, planted: tuple[Outcome, set[str]]) -> None:
    secrets = sorted(PLANTED | private_keys(fleet))
    # In labels and the state; in a layer. That they are found shows that secrets would be.
    release, layer = live(fleet), "class RequestMiddleware:"
    for machine in fleet.machines:
        found = shown(machine, [*secrets, release, layer])
        assert release in found, machine.name
        assert not found & set(secrets), machine.name
    assert layer in shown(fleet.nodes[0], [layer])

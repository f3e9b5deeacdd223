"""What is done on a machine of each system: by what its /etc/os-release, its programs and its engine tell."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.machine_files import distributions, os_release
from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import mounted
from ansible_collections.flotilla.fleet.plugins.plugin_utils.systems import (
    EngineStep,
    FoundSystem,
    builder_step,
    engine_step,
    known_packages,
    looked_for,
)

# The lines of /etc/os-release that decide.
SYSTEMS = {
    "Debian 12": 'ID=debian\nVERSION_ID="12"\n',
    "Debian 13": 'ID=debian\nVERSION_ID="13"\n',
    "Ubuntu 22.04": 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\n',
    "Ubuntu 24.04": 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n',
    "Ubuntu 26.04": 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="26.04"\n',
    "Rocky 9": 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.6"\n',
    "Rocky 10": 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="10.0"\n',
    "Alma 9": 'ID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.6"\n',
    "Alma 10": 'ID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="10.0"\n',
    "RHEL 9": 'ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.6"\n',
    "RHEL 10": 'ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="10.0"\n',
    "Arch": "ID=arch\n",
    "openSUSE": 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n',
}
APT = ["Debian 12", "Debian 13", "Ubuntu 22.04", "Ubuntu 24.04", "Ubuntu 26.04"]
DNF = ["Rocky 9", "Rocky 10", "Alma 9", "Alma 10", "RHEL 9", "RHEL 10"]
OTHERS = ["Arch", "openSUSE"]
TOOLS = ["ip", "iptables", "python:requests", "ss"]
DOCKER_CE = ["docker", "dockerd"]


def found(system: str, has: Sequence[str] = (), *, engine: bool = False, firewall: str = "") -> FoundSystem:
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(SYSTEMS[system])
        file.flush()
        names = distributions(os_release(Path(file.name)))
    manager = ["apt-get"] if system in APT else ["dnf"] if system in DNF else []
    return {
        "distributions": names,
        "engine": engine,
        "engine_firewall": firewall,
        "has": [*manager, *has],
    }


def nothing(step: EngineStep) -> bool:
    return step == {**step, "refusal": "", "tools": [], "engine": [], "start": False}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("firewall", ["", "iptables", "iptables+firewalld"])
def test_an_engine_that_answers_is_used_as_it_is_on_any_system(system: str, firewall: str) -> None:
    machine = found(system, [*TOOLS, *DOCKER_CE], engine=True, firewall=firewall)
    assert nothing(engine_step(machine, "n1"))


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_installed_engine_is_started_and_no_other_is_installed_beside_it(system: str) -> None:
    step = engine_step(found(system, [*TOOLS, *DOCKER_CE]), "n1")
    assert (step["refusal"], step["engine"], step["start"]) == ("", [], True)


@pytest.mark.parametrize(
    ("system", "engine"),
    [
        ("Debian 12", ["docker.io"]),
        ("Debian 13", ["docker-cli", "docker.io"]),
        ("Ubuntu 22.04", ["docker.io"]),
        ("Ubuntu 24.04", ["docker.io"]),
        ("Ubuntu 26.04", ["docker.io"]),
    ],
)
def test_a_fresh_machine_gets_the_engine_of_its_distribution(system: str, engine: list[str]) -> None:
    step = engine_step(found(system, ["ip", "ss"]), "n1")
    assert (step["manager"], step["engine"], step["start"]) == ("apt", engine, True)
    assert step["tools"] == ["iptables", "python3-requests"]


@pytest.mark.parametrize("system", [*DNF, *OTHERS])
def test_a_system_without_an_engine_of_its_own_is_refused_with_what_to_install(system: str) -> None:
    refusal = engine_step(found(system, TOOLS), "n1")["refusal"]
    assert refusal.startswith("n1: no Docker engine answers on /run/docker.sock")
    assert "install Docker CE there (https://docs.docker.com/engine/install)" in refusal


@pytest.mark.parametrize("system", DNF)
def test_the_few_tools_come_by_dnf_and_weak_ones_are_not_asked_for(system: str) -> None:
    step = engine_step(found(system, ["ip", "ss", "iptables", *DOCKER_CE], engine=True), "n1")
    assert (step["manager"], step["tools"], step["start"]) == ("dnf", ["python3-requests"], False)


@pytest.mark.parametrize("system", OTHERS)
def test_what_an_unknown_system_lacks_is_named(system: str) -> None:
    refusal = engine_step(found(system, ["ip", "ss", *DOCKER_CE], engine=True), "n1")["refusal"]
    assert "lacks the program iptables, Python's module requests (for /usr/bin/python3)" in refusal


def test_an_image_of_debian_without_apt_gets_nothing_installed() -> None:
    machine = found("Debian 13", DOCKER_CE, engine=True)
    machine["has"] = DOCKER_CE
    assert "lacks the program ip" in engine_step(machine, "n1")["refusal"]
    machine["has"], machine["engine"] = TOOLS, False
    assert "lacks the program docker, the program dockerd" in engine_step(machine, "n1")["refusal"]


def test_an_engine_without_its_command_line_gets_it_where_that_is_a_package_of_its_own() -> None:
    assert engine_step(found("Debian 13", [*TOOLS, "dockerd"], engine=True), "n1")["engine"] == ["docker-cli"]
    for system in ("Debian 12", "Ubuntu 24.04", "Rocky 9", "Arch"):
        refusal = engine_step(found(system, TOOLS, engine=True), "n1")["refusal"]
        assert "lacks the program docker" in refusal, system


@pytest.mark.parametrize("driver", ["nftables", "nftables+firewalld"])
def test_an_engine_that_writes_to_nftables_is_refused(driver: str) -> None:
    machine = found("Rocky 10", [*TOOLS, *DOCKER_CE], engine=True, firewall=driver)
    assert "remove firewall-backend from /etc/docker/daemon.json" in engine_step(machine, "n1")["refusal"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_builder_has_what_makes_images_or_gets_it(system: str) -> None:
    step = builder_step(found(system), "lb")
    if system in APT:
        archive = ["debian-archive-keyring"] if system.startswith("Ubuntu") else []
        assert step["tools"] == [*archive, "libcap2-bin", "mmdebstrap"]
    else:
        assert "name a host with Debian or Ubuntu in group image_builder" in step["refusal"]
    assert nothing(builder_step(found(system, looked_for()), "lb"))


def test_each_need_is_looked_for() -> None:
    looked = looked_for()
    assert {"apt-get", "dnf", "dockerd", "docker", "mmdebstrap", *TOOLS} <= set(looked)
    assert {name.split("-")[0] for name in known_packages()} == {"debian", "ubuntu", "rhel"}


def test_mounts_are_labelled_where_selinux_confines_containers_and_nowhere_else() -> None:
    volumes = ["/etc/a:/etc/b:ro", "/var/c:/d"]
    assert mounted(volumes, {"selinux": False}) == mounted(volumes, {}) == volumes
    assert mounted(volumes, {"selinux": True}) == ["/etc/a:/etc/b:ro,z", "/var/c:/d:rw,z"]

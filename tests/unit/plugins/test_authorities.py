"""Whose certificates the machines have, and when a controller may begin authorities or has to refuse."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.certificate_store import (
    AUTHORITIES,
    Authority,
    Store,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import certificate_pem, make_authority
from ansible_collections.flotilla.fleet.plugins.plugin_utils.authorities import (
    TRUSTED,
    may_begin,
    refusal,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import (
    fleet_certificates,
    machine_certificates,
)

GROUPS = {"all": [], "load_balancers": ["lb1"], "model_nodes": ["node1", "node2"]}
SERVERS, CLIENTS = "/etc/flotilla/nginx/tls/servers.crt", "/etc/flotilla/endpoints/node1/clients.crt"


class Controller:
    """A controller's folder, and what it sees of the machines."""

    def __init__(self, folder: Path, texts: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.folder = folder
        self.authorities = {name: Authority(Store(folder), name, "CA") for name in AUTHORITIES}
        self.hostvars: dict[str, dict[str, Any]] = {host: {} for host in ("lb1", "node1", "node2")}
        for host in self.hostvars:
            self.sees(host, (texts or {}).get(host, {}))

    def begin(self) -> None:
        for authority in self.authorities.values():
            authority.begin()

    def advance(self, step: str) -> None:
        for authority in self.authorities.values():
            authority.advance(step)

    def install(self) -> dict[str, dict[str, str]]:
        """Return what the machines trust after a run of this controller."""
        trusted = {name: authority.trusted() for name, authority in self.authorities.items()}
        return {"lb1": {SERVERS: trusted["fleet"]}, "node1": {CLIENTS: trusted["balancers"]}}

    def sees(self, host: str, texts: Mapping[str, str]) -> None:
        files = dict.fromkeys(texts, "0:0644:0")
        self.hostvars[host] = {"flotilla_machine": {"files": files, "certificates": dict(texts)}}

    def away(self, host: str) -> None:
        self.hostvars[host] = {"flotilla_machine": {"unreachable": True}}

    def refusal(self, *, limited: bool = False, elsewhere: str = "") -> str:
        return refusal(self.hostvars, GROUPS, str(self.folder), limited=limited, elsewhere=elsewhere)


@pytest.fixture
def own(tmp_path: Path) -> Controller:
    controller = Controller(tmp_path / "own-1234")
    controller.begin()
    return controller


def test_a_new_fleet_gets_authorities_and_machines_that_have_none_get_certificates(
    tmp_path: Path, own: Controller
) -> None:
    new = Controller(tmp_path / "new")
    assert new.refusal() == ""
    assert may_begin(new.hostvars, GROUPS)
    assert own.refusal() == own.refusal(limited=True) == ""
    own.away("node2")
    assert own.refusal() == ""  # nothing is begun


def test_a_limited_run_begins_no_authority(tmp_path: Path) -> None:
    new = Controller(tmp_path / "new")
    for host in ("lb1", "node1"):
        new.hostvars[host] = {}  # outside the limit
    said = new.refusal(limited=True)
    assert said.startswith(
        f"{tmp_path}/new holds no certificate authority, and a run with --limit begins none"
    )
    assert not may_begin(new.hostvars, GROUPS)


@pytest.mark.parametrize("host", ["lb1", "node2"])
def test_a_machine_that_was_not_looked_at_may_have_certificates(tmp_path: Path, host: str) -> None:
    new = Controller(tmp_path / "new")
    new.away(host)
    assert new.refusal().startswith(f"{host}: could not be inspected, so it may have certificates")
    assert "-e internal_ca_lost=true" in new.refusal()
    assert not may_begin(new.hostvars, GROUPS)


def test_no_authority_is_begun_where_a_machine_has_certificates(tmp_path: Path, own: Controller) -> None:
    other = Controller(tmp_path / "other-5678", own.install())
    assert not may_begin(other.hostvars, GROUPS)
    for limited in (False, True):
        said = other.refusal(limited=limited)
        assert said.startswith("lb1: has certificates of the fleet “own-1234” (an authority of 20")
        assert f"{tmp_path}/other-5678 holds no authority of this inventory's fleet, “other-5678”" in said
        assert "copy this folder from the controller that has it" in said
        assert "remove that fleet with its down.yml" in said
        assert "-e internal_ca_lost=true" in said
    # A key alone is a certificate too.
    other = Controller(tmp_path / "other-5678")
    other.hostvars["node2"]["flotilla_machine"]["files"] = {
        "/etc/flotilla/endpoints/node2/server.pem": "0:0400:1"
    }
    assert other.refusal().startswith("node2: has certificates of an authority, and ")
    # The registry's are no reason: without them nothing but the next pull fails.
    other.hostvars["node2"]["flotilla_machine"]["files"] = {
        "/etc/docker/certs.d/10.0.0.1:5000/client.key": "0:0600:0"
    }
    assert other.refusal() == ""


def test_certificates_of_another_authority_are_not_replaced(tmp_path: Path, own: Controller) -> None:
    strange = Controller(tmp_path / "strange-9")
    strange.begin()
    strange.sees("node1", own.install()["node1"])
    for limited in (False, True):
        said = strange.refusal(limited=limited)
        assert said.startswith("node1: has certificates of the fleet “own-1234”")
        assert (
            f"not of this inventory's fleet, “strange-9”, whose authority is in {tmp_path}/strange-9" in said
        )
        assert "-e internal_ca_lost=true replaces the certificates" in said


def test_an_authority_of_an_earlier_version_is_named_as_far_as_it_is_known(
    tmp_path: Path, own: Controller
) -> None:
    certificate, _ = make_authority("Flotilla internal CA, 1")
    own.sees("lb1", {SERVERS: certificate_pem(certificate)})
    assert own.refusal().startswith("lb1: has certificates of “Flotilla internal CA, 1” (an authority of 20")


def test_a_rotation_that_was_interrupted_at_any_step_goes_on(own: Controller) -> None:
    machines = [own.install()]
    for step in ("trust", "issue", "drop", "trust", "issue", "drop"):
        own.advance(step)
        machines.append(own.install())
        for left in machines:  # a machine may have been away since
            for host, texts in left.items():
                own.sees(host, texts)
            assert own.refusal() == "", step
    # One that was begun before authorities bore names goes on as well.
    legacy = Controller(own.folder.parent / "legacy")
    for name in AUTHORITIES:
        Store(legacy.folder).write(f"{name}-1", make_authority("CA, 1"))
    for host, texts in legacy.install().items():
        legacy.sees(host, texts)
    for step in ("trust", "issue", "drop"):
        assert legacy.refusal() == ""
        legacy.advance(step)
    assert legacy.refusal() == ""


@pytest.mark.parametrize(
    "text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n"]
)
def test_a_damaged_file_is_nobody_s_and_is_replaced(own: Controller, text: str) -> None:
    own.sees("lb1", {SERVERS: text})
    assert own.refusal() == ""


def test_a_limited_run_compares_its_authorities_with_those_of_a_load_balancer_that_it_is_not_about(
    tmp_path: Path, own: Controller
) -> None:
    other = Controller(tmp_path / "other-1234")
    other.begin()
    for host in ("lb1", "node1"):
        own.hostvars[host] = {}
    trusted = other.install()["lb1"][SERVERS]
    assert own.refusal(limited=True, elsewhere=own.install()["lb1"][SERVERS]) == ""
    assert own.refusal(limited=True, elsewhere=trusted).startswith(
        "lb1: has certificates of the fleet “other-1234” (an authority of"
    )


@pytest.mark.parametrize(("monitoring", "number"), [([], 3), (["watch"], 10)])
def test_every_file_by_which_a_program_trusts_an_authority_is_compared(
    monitoring: list[str], number: int
) -> None:
    groups = {**GROUPS, "monitoring": monitoring}
    hostvars: dict[str, dict[str, Any]] = {host: {} for host in ("lb1", "node1", "node2", "watch")}
    names = [entry["name"] for entry in fleet_certificates(hostvars, groups, "10.0.0.1")]
    pair = {"certificate": "", "private_key": ""}
    issued: Any = {
        "authorities": dict.fromkeys(AUTHORITIES, "AUTHORITY"),
        "certificates": dict.fromkeys(names, pair),
    }
    files = machine_certificates(hostvars, groups, issued, "r:1", "r:2")
    trusted = [
        file["path"] for machine in files.values() for file in machine if file["content"] == "AUTHORITY"
    ]
    own = [path for path in trusted if path.startswith("/etc/flotilla/")]
    assert len(own) == number
    assert all(any(fnmatch.fnmatch(path, pattern) for pattern in TRUSTED) for path in own)


def test_a_fleet_that_has_had_no_monitoring_host_lacks_no_authority(own: Controller) -> None:
    for path in own.folder.glob("monitoring-*"):
        path.unlink()
    for host, texts in own.install().items():
        own.sees(host, texts)
    assert own.refusal(limited=True) == ""


def test_the_authority_of_metrics_that_another_controller_has_begun_is_not_replaced(
    tmp_path: Path, own: Controller
) -> None:
    other = Controller(tmp_path / "other-1234")
    other.begin()
    path = "/etc/flotilla/nginx/tls/monitoring.crt"
    own.sees("lb1", {**own.install()["lb1"], path: own.authorities["monitoring"].trusted()})
    assert own.refusal() == ""
    own.sees("lb1", {**own.install()["lb1"], path: other.authorities["monitoring"].trusted()})
    assert "other-1234" in own.refusal()

"""What the keeper of certificates by ACME is given, and what is said of the certificate that clients see."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.acme import (
    STAGING,
    keeper_files,
    keeper_hosts,
    keeper_settings,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import (
    fleet_certificates,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.certificates import (
    certificate_differences,
    certificate_warnings,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.types import Fleet
from ansible_collections.flotilla.fleet.plugins.plugin_utils.firewall import guarded_ports
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.check import inventory_errors

from small_fleet import GROUPS, HOSTVARS, REGISTRIES
from unit.plugins.inventory.inventories import fleet as inventory_of

DAY = 86400
ACME = {"nginx_lb_tls": "acme", "nginx_lb_tls_names": ["models.example"], "acme_email": "ops@example.com"}
HOSTS: dict[str, dict[str, Any]] = {
    **HOSTVARS,
    "lb1": {**HOSTVARS["lb1"], **ACME},
    "lb2": {**HOSTVARS["lb2"], **ACME},
}
FRONTEND = "/etc/flotilla/nginx/acme/frontend.pem"


def test_a_keeper_knows_its_names_its_ca_and_the_others() -> None:
    settings = keeper_settings(HOSTS, GROUPS, "lb2")
    assert settings["names"] == ["models.example"]
    assert settings["staging"] == STAGING[settings["directory"]]
    assert (settings["position"], settings["address"], settings["port"]) == (1, "10.1.0.2", 8091)
    assert settings["peers"] == [{"name": "lb1", "address": "10.0.0.1", "port": 8091}]
    assert settings["challenge"] == "http-01"
    json.dumps(settings)


def test_another_ca_has_no_test_service_unless_one_is_named() -> None:
    hosts = {**HOSTS, "lb1": {**HOSTS["lb1"], "acme_directory_url": "https://ca.example/dir"}}
    assert keeper_settings(hosts, GROUPS, "lb1")["staging"] == ""


def test_secrets_are_the_keepers_alone() -> None:
    hosts = {**HOSTS, "lb1": {**HOSTS["lb1"], "acme_dns_hook": "#!/usr/bin/python3\n"}}
    files = {file["path"].rpartition("/")[2]: file for file in keeper_files(hosts, GROUPS, "lb1")}
    assert (files["settings.json"]["mode"], files["settings.json"]["owner"]) == ("0400", 10009)
    assert (files["dns_hook"]["mode"], files["dns_hook"]["owner"]) == ("0500", 10009)
    assert "keeper.py" in files


def test_nothing_is_done_where_no_certificate_by_acme_is_wanted_and_none_was() -> None:
    assert keeper_hosts(HOSTVARS, GROUPS) == []
    assert keeper_hosts(HOSTS, GROUPS) == ["lb1", "lb2"]
    before: dict[str, Any] = {"flotilla_machine": {"containers": {"flotilla-acme": {}}}}
    assert keeper_hosts({**HOSTVARS, "lb2": {**HOSTVARS["lb2"], **before}}, GROUPS) == ["lb2"]
    names = {entry["name"] for entry in fleet_certificates(HOSTVARS, GROUPS, "10.0.0.1")}
    added = {entry["name"] for entry in fleet_certificates(HOSTS, GROUPS, "10.0.0.1")} - names
    assert added == {"acme-lb1", "acme-lb2", "frontend-lb1", "frontend-lb2"}


def test_load_balancers_alone_reach_a_keeper() -> None:
    guards = guarded_ports(HOSTS, GROUPS, *REGISTRIES)["10.0.0.2"]
    assert {"address": "10.1.0.2", "ports": "8091", "sources": ["10.0.0.1", "10.1.0.2"]} in guards
    assert "10.0.0.2" not in guarded_ports(HOSTVARS, GROUPS, *REGISTRIES)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"nginx_lb_tls": "acme"}, "nginx_lb_tls_names"),
        ({"nginx_lb_tls": "acme", "nginx_lb_tls_names": ["*.a.example"]}, "DNS-01"),
        (
            {"nginx_lb_tls": "acme", "nginx_lb_tls_names": ["a.example"], "acme_directory_url": "http://a/"},
            "https",
        ),
        (
            {"nginx_lb_tls": "internal", "acme_email": "ops@example.com"},
            "no effect while nginx_lb_tls is internal",
        ),
        (
            {
                "nginx_lb_tls": "acme",
                "nginx_lb_tls_names": ["a.example"],
                "acme_external_account": {"kid": "k"},
            },
            "hmac",
        ),
        ({"nginx_lb_tls": "acme", "nginx_lb_tls_names": ["a.example"], "acme_port": 443}, "port 443"),
        ({"nginx_lb_tls": "acme", "nginx_lb_tls_names": ["*.a.example"], "acme_dns_hook": "#!"}, ""),
    ],
)
def test_settings_that_can_not_work_are_reported(settings: dict[str, Any], error: str) -> None:
    found = inventory_errors(*inventory_of(lb=settings))
    if error:
        assert len(found) == 1
        assert error in found[0]
    else:
        assert found == []


def shown(days: int) -> str:
    """A certificate that ends in this many days."""
    return certificate_pem(issue(make_authority("CA"), "a", "server", names=["models.example"], days=days)[0])


def told(now: float, certificate: str, kept: dict[str, Any], had: str = "") -> list[str]:
    """What is found of the certificate that clients of lb1 see."""
    machine = {
        "certificate": certificate,
        "certificates": {FRONTEND: had or certificate},
        "acme": kept,
        "files": {},
    }
    hosts = {
        **HOSTS,
        "lb1": {**HOSTS["lb1"], "flotilla_machine": machine, "internal_ca_issued": {"msg": "x"}},
    }
    fleet = Fleet.of(hosts, GROUPS, ["lb1"], ["lb1"], None, now)
    found = list(certificate_differences(fleet))
    return [entry["found"] for entry in found if entry["thing"] == "certificate that clients see"]


def test_the_certificate_is_a_difference_until_one_is_issued_and_from_20_days_before_its_end() -> None:
    now, certificate = time.time(), shown(90)
    issued = {"directory": "https://ca.example/dir", "failed": None}
    failed = {**issued, "failed": {"reason": "models.example: no such name", "until": 0}}
    assert "none yet" in told(now, certificate, {})[0]
    assert told(now, certificate, issued) == []
    assert told(now + 69 * DAY, certificate, failed) == []
    [sentence] = told(now + 71 * DAY, certificate, failed)
    assert sentence.startswith("ends in 18 days")
    assert sentence.endswith("the last order failed: models.example: no such name")
    assert "not taken" in told(now, certificate, issued, had=shown(90))[0]
    # One of six days is renewed two days before its end.
    assert told(now + 3 * DAY, shown(6), issued) == []
    assert told(now + 5.2 * DAY, shown(6), issued)


def test_a_run_warns_of_the_end() -> None:
    machine = {"certificate": shown(90)}
    hosts = {"lb1": {**ACME, "flotilla_machine": machine}}
    assert certificate_warnings(hosts, ["lb1"], time.time()) == []
    assert "lb1" in certificate_warnings(hosts, ["lb1"], time.time() + 75 * DAY)[0]

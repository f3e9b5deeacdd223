"""A certificate by ACME in place of the internal CA's, and back, under requests. The CA is Pebble on this machine."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from fleet.deploy import FINE, configurations, deploy
from fleet.fleet import Fleet
from fleet.machine import wait_until
from fleet.ports import HTTPS
from fleet.status import status
from fleet.tls import agree, client
from pebble import Pebble

NAME = "models.example"
KEEPER = 8091


@pytest.fixture(scope="module")
def address(fleet: Fleet) -> str:
    """The virtual address."""
    return str(fleet.hostvars[fleet.load_balancer.name]["virtual_address_ip"]).partition("/")[0]


@pytest.fixture(scope="module")
def ca(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """The CA, which finds the fleet at the virtual address."""
    found = Pebble(tmp_path_factory.mktemp("pebble"), 80, f"{address.rpartition('.')[0]}.1")
    found.point(NAME, address)
    found.start()
    yield found
    found.end()


@pytest.fixture(scope="module")
def acme(ca: Pebble) -> dict[str, Any]:
    """The settings with which the fleet asks this CA."""
    return {"nginx_lb_tls": "acme", "acme_directory_url": ca.directory, "acme_roots": ca.roots.read_text()}


@pytest.fixture(scope="module")
def asking(address: str) -> Iterator[list[str]]:
    """What a client at the virtual address loses meanwhile."""
    lost: list[str] = []
    ends = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPSConnection(address, HTTPS, context=client(), timeout=10)
        while not ends.wait(0.02):
            try:
                connection.request("GET", "/v2/health/ready")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    lost.append(str(answer.status))
            except (OSError, http.client.HTTPException) as error:
                lost.append(repr(error))
                connection.close()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    yield lost
    ends.set()
    thread.join(20)


def shown(fleet: Fleet) -> set[str]:
    """The certificates that the load balancers show."""
    return {
        agree(fleet.hostvars[balancer.name]["ansible_host"], client(), NAME).certificate
        for balancer in fleet.load_balancers
    }


def issuers(fleet: Fleet) -> set[str]:
    """Who issued the certificates that the load balancers show, in one word."""
    names = [x509.load_pem_x509_certificate(found.encode()).issuer.rfc4514_string() for found in shown(fleet)]
    return {"CA" if "Pebble" in name else "internal" for name in names}


def test_clients_are_shown_the_certificate_of_the_ca(
    fleet: Fleet, acme: dict[str, Any], asking: list[str], ca: Pebble, tmp_path: Path
) -> None:
    assert issuers(fleet) == {"internal"}
    outcome = deploy(fleet, **acme)
    assert outcome.code == FINE, outcome.output[-6000:]
    wait_until("both show the CA's certificate", lambda: issuers(fleet) == {"CA"}, 150)
    assert len(shown(fleet)) == 1
    assert ca.orders() == 1
    assert deploy(fleet, **acme).changed == 0
    assert len(configurations(fleet)) == 2
    code, found = status(fleet, tmp_path, **acme)
    assert (code, found) == (FINE, {})
    keepers = fleet.load_balancer.addressed({KEEPER})
    assert fleet.load_balancers[1].reaches(keepers) == keepers
    assert fleet.nodes[0].reaches(keepers) == fleet.outsider.reaches(keepers) == set()
    assert asking == []


def test_the_internal_ca_takes_over_and_the_certificate_is_kept_for_a_return(
    fleet: Fleet, acme: dict[str, Any], asking: list[str], ca: Pebble
) -> None:
    outcome = deploy(fleet, nginx_lb_tls="internal")
    assert outcome.code == FINE, outcome.output[-6000:]
    assert issuers(fleet) == {"internal"}
    assert deploy(fleet, nginx_lb_tls="internal").changed == 0
    for balancer in fleet.load_balancers:
        assert "acme" not in balancer.run("ls", "/etc/flotilla", "/etc/flotilla/nginx").split()
        assert "flotilla-acme" not in balancer.run("docker", "ps", "--all", "--format", "{{.Names}}")
    assert deploy(fleet, **acme).code == FINE
    wait_until("both show the CA's certificate", lambda: issuers(fleet) == {"CA"}, 150)
    assert ca.orders() == 1
    assert asking == []

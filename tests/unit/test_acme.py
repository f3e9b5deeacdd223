"""Certificates by ACME: keepers as they run in their image, a real Nginx on two load balancers, Pebble as the CA."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.modules.machine_state import shown_certificate
from cryptography import x509

import pebble
import real_nginx
from pebble import REFUSED_NAME, Driven, Pebble
from real_nginx import Nginx, free_port

pytestmark = pytest.mark.long

NAME = "models.example"
HOUR, DAY = 3600, 86400
BALANCERS = ("lb1", "lb2")
ADDRESSES = {"lb1": "127.0.0.1", "lb2": "127.0.0.2"}


@dataclass
class Fleet:
    """Two load balancers, and the CA."""

    ca: Pebble
    nginx: dict[str, Nginx]
    keepers: dict[str, Driven]
    tls_ports: dict[str, int]
    settings: dict[str, dict[str, Any]]
    image: Path

    def shown(self, balancer: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(shown_certificate(self.tls_ports[balancer]).encode())

    def restart(self, balancer: str, **settings: Any) -> Driven:
        """Run a keeper anew, with other settings."""
        before = self.keepers[balancer]
        before.end()
        wanted = {**self.settings[balancer], **settings}
        nginx = before.folder.parent / balancer / "nginx" / "etc" / "acme"
        self.keepers[balancer] = Driven(self.image, before.folder, nginx, self.ca.roots, wanted)
        return self.keepers[balancer]


@dataclass
class Rendered:
    """The configurations of Nginx, made once, and the ports in them."""

    port: int
    tls_ports: dict[str, int]
    status_ports: dict[str, int]
    texts: dict[str, str]
    installed: Path


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    port = free_port()
    tls_ports, status_ports = ({name: free_port() for name in BALANCERS} for _ in range(2))
    cases = {
        name: {
            "nginx_lb_port": port,
            "nginx_lb_tls_port": tls_ports[name],
            "nginx_lb_status_port": status_ports[name],
            "nginx_lb_tls": "acme",
            "nginx_lb_tls_names": [NAME],
            "nginx_lb_ipv6": False,  # both listen on one port of this machine, each at its own IPv4 address
        }
        for name in BALANCERS
    }
    texts, image = real_nginx.render(tmp_path_factory.mktemp("render"), cases, free_port())
    for name in BALANCERS:
        texts[name] = texts[name].replace(f"listen {port} ", f"listen {ADDRESSES[name]}:{port} ")
    return Rendered(port, tls_ports, status_ports, texts, real_nginx.installation(image))


@pytest.fixture
def fleet(tmp_path: Path, rendered: Rendered) -> Iterator[Fleet]:
    ports = {name: free_port() for name in BALANCERS}
    keepers_image = pebble.keeper_image()
    folders = {name: tmp_path / name for name in BALANCERS}
    pebble.write_peer_files(list(folders.values()))
    nginx, driven, all_settings = {}, {}, {}
    try:
        with pebble.running(tmp_path / "pebble", rendered.port) as ca:
            for position, name in enumerate(BALANCERS):
                place = folders[name] / "nginx"
                place.mkdir()
                real_nginx.write_certificates(place)
                (place / "etc" / "acme").mkdir()
                temporary = (place / "etc" / "tls" / "frontend.pem").read_text()
                (place / "etc" / "acme" / "frontend.pem").write_text(temporary)
                nginx[name] = Nginx(rendered.installed, place, rendered.status_ports[name])
                nginx[name].serve(rendered.texts[name])
                all_settings[name] = {
                    "balancer": name,
                    "position": position,
                    "names": [NAME],
                    "directory": ca.directory,
                    "staging": "",
                    "email": "",
                    "challenge": "http-01",
                    "attempt": 1,
                    "address": "127.0.0.1",
                    "port": ports[name],
                    "tls_port": rendered.tls_ports[name],
                    "virtual_address": "",
                    "peers": [
                        {"name": other, "address": "127.0.0.1", "port": ports[other]}
                        for other in BALANCERS
                        if other != name
                    ],
                }
                driven[name] = Driven(
                    keepers_image, folders[name], place / "etc" / "acme", ca.roots, all_settings[name]
                )
            yield Fleet(ca, nginx, driven, rendered.tls_ports, all_settings, keepers_image)
    finally:
        for keeper in driven.values():
            keeper.end()
        for server in nginx.values():
            server.stop()


class Client(threading.Thread):
    """Asks over one connection after another, each for as long as Nginx keeps it, and counts what is lost."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._ends = threading.Event()
        self.answered, self.lost = 0, []  # type: tuple[int, list[str]]

    def run(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=context, timeout=10)
        while not self._ends.wait(0.002):
            try:
                connection.request("GET", "/nothing")
                connection.getresponse().read()
                self.answered += 1
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                connection.close()

    def end(self) -> None:
        self._ends.set()
        self.join(20)


def test_a_certificate_is_issued_shown_handed_on_and_renewed_without_a_lost_request(fleet: Fleet) -> None:
    temporary = fleet.shown("lb1")
    client = Client(fleet.tls_ports["lb1"])
    client.start()
    # The CA asks the load balancer that does not order, as after a move of the virtual address.
    fleet.ca.point(NAME, ADDRESSES["lb2"])
    kept = fleet.keepers["lb1"].round()
    assert kept["failed"] is None, kept
    first = fleet.shown("lb1")
    assert first.issuer != temporary.issuer
    kept = fleet.keepers["lb2"].round()
    assert fleet.shown("lb2") == first
    assert fleet.ca.orders() == 1
    for keeper in fleet.keepers.values():
        assert (keeper.folder / "kept" / "certificate.pem").stat().st_mode & 0o077 == 0

    due = kept["next_order"] - HOUR  # lb2 waits an hour longer than lb1
    now = first.not_valid_before_utc.timestamp()
    assert (first.not_valid_after_utc.timestamp() - due) * 3 == pytest.approx(
        first.not_valid_after_utc.timestamp() - now, rel=0.01
    )
    for keeper in fleet.keepers.values():
        keeper.tell(f"ahead {due - now + 60}")
        keeper.round()
    assert fleet.shown("lb1") == fleet.shown("lb2") != first
    assert fleet.ca.orders() == 2
    client.end()
    assert client.lost == []
    assert client.answered > 100
    assert not list((fleet.keepers["lb1"].folder / "nginx" / "etc" / "acme" / "challenges").iterdir())


def test_a_failed_order_leaves_what_is_shown_and_nobody_orders_for_a_day(fleet: Fleet) -> None:
    temporary = fleet.shown("lb1")
    fleet.ca.point(NAME, "127.0.0.9")
    first, second = fleet.keepers["lb1"], fleet.keepers["lb2"]
    failed = first.round()["failed"]
    assert NAME in failed["reason"]
    assert failed["until"] - failed["at"] == DAY
    assert fleet.shown("lb1") == temporary
    fleet.ca.point(NAME, ADDRESSES["lb1"])
    for keeper in (first, second):
        keeper.tell(f"ahead {23 * HOUR}")
        keeper.round()
    assert fleet.ca.orders() == 1
    first.tell(f"ahead {DAY + 60}")
    assert first.round()["failed"] is None
    assert fleet.ca.orders() == 2
    assert fleet.shown("lb1") != temporary


def test_a_raised_attempt_orders_at_once(fleet: Fleet) -> None:
    fleet.ca.point(NAME, "127.0.0.9")
    assert fleet.keepers["lb1"].round()["failed"]
    fleet.ca.point(NAME, ADDRESSES["lb1"])
    assert fleet.restart("lb1").round()["failed"]
    assert fleet.restart("lb1", attempt=2).round()["failed"] is None


def test_the_test_service_is_asked_first_and_once(fleet: Fleet) -> None:
    keeper = fleet.restart("lb1", staging=fleet.ca.directory)
    assert keeper.round()["proven"]
    assert fleet.ca.orders() == 2
    keeper = fleet.restart("lb1", staging="https://127.0.0.1:9/dir", attempt=2)
    assert fleet.ca.orders() == 2  # what is held is good


def test_a_ca_that_is_down_is_asked_again_after_an_hour_and_knows_no_account_then(fleet: Fleet) -> None:
    keeper = fleet.keepers["lb1"]
    kept = keeper.round()
    shown, due = fleet.shown("lb1"), kept["next_order"]
    now = shown.not_valid_before_utc.timestamp()
    fleet.ca.stop()
    keeper.tell(f"ahead {due - now + 60}")
    failed = keeper.round()["failed"]
    assert failed["until"] - failed["at"] == HOUR
    assert fleet.ca.directory in failed["reason"]
    assert fleet.shown("lb1") == shown
    fleet.ca.start()
    keeper.tell(f"ahead {due - now + HOUR + 120}")
    assert keeper.round()["failed"] is None
    assert fleet.shown("lb1") != shown


def test_a_revoked_account_is_made_anew(fleet: Fleet) -> None:
    keeper = fleet.keepers["lb1"]
    kept = keeper.round()
    shown = fleet.shown("lb1")
    keeper.tell("deactivate")
    keeper.tell(f"ahead {kept['next_order'] - shown.not_valid_before_utc.timestamp() + 60}")
    assert keeper.round()["failed"] is None
    assert fleet.shown("lb1") != shown


def test_a_name_that_the_ca_refuses_is_told(fleet: Fleet) -> None:
    failed = fleet.restart("lb1", names=[REFUSED_NAME]).round()["failed"]
    assert REFUSED_NAME in failed["reason"]


def test_a_wildcard_is_issued_by_a_dns_hook(fleet: Fleet) -> None:
    hook = fleet.keepers["lb1"].folder / "dns_hook"
    hook.write_text(HOOK.format(port=fleet.ca.management))
    hook.chmod(0o500)
    keeper = fleet.restart("lb1", names=["*.models.example"], challenge="dns-01")
    assert keeper.round()["failed"] is None, keeper.log()
    names = fleet.shown("lb1").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["*.models.example"]
    assert (hook.parent / "called").read_text().split() == ["present", "cleanup"]


HOOK = """#!/usr/bin/python3
import json, pathlib, sys, urllib.request
action, record, value = sys.argv[1:]
with (pathlib.Path(sys.argv[0]).parent / "called").open("a") as file:
    print(action, file=file)
path = "set-txt" if action == "present" else "clear-txt"
body = json.dumps({{"host": record + ".", "value": value}}).encode()
urllib.request.urlopen(f"http://127.0.0.1:{port}/{{path}}", body)
"""


def test_a_keeper_tells_nothing_to_one_without_the_certificate_of_a_load_balancer(fleet: Fleet) -> None:
    folder, port = fleet.keepers["lb1"].folder, fleet.settings["lb1"]["port"]
    context = ssl.create_default_context(cafile=str(folder / "tls" / "servers.crt"))
    context.check_hostname = False

    def status() -> int:
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
        connection.request("GET", "/state")
        return connection.getresponse().status

    with pytest.raises((OSError, http.client.HTTPException)):
        status()
    context.load_cert_chain(folder / "tls" / "server.pem")  # of the fleet, and no load balancer's
    with pytest.raises((OSError, http.client.HTTPException)):
        status()
    context.load_cert_chain(folder / "tls" / "client.pem")
    assert status() == 200

"""What clients of IPv6 get from a real Nginx: it listens on ::1, in front of an endpoint's stand-in."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.interfaces import has_ipv6

from real_nginx import ANSWER, Cases, serving, wait_until

pytestmark = [pytest.mark.long, pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")]

BURST = 3
PROXY = {"nginx_lb_trusted_proxies": ["127.0.0.1", "::1"]}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "ipv4": {"nginx_lb_ipv6": False},
    "tls": {"nginx_lb_tls": "internal", "nginx_lb_tls_names": ["models.example"]},
    "operators": PROXY,
    "rate": {**PROXY, "nginx_lb_rate": 1, "nginx_lb_burst": BURST},
    "in flight": {**PROXY, "nginx_lb_client_connections": 2},
}


class Served(Cases):
    """A running Nginx, and those who ask it."""

    def ask(
        self, path: str = "/predict", address: str = "::1", **headers: str
    ) -> tuple[int, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection(address, self.port, timeout=10)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, b"{}", sent)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status, response.headers

    def ask_of(self, client: str) -> int:
        return self.ask(X_Forwarded_For=client)[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(Served, tmp_path_factory.mktemp("nginx"), CASES) as served:
        yield served


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
def test_a_client_of_either_family_is_answered_and_named(served: Served, address: str) -> None:
    served.case("plain")
    assert served.ask(address=address, X_Forwarded_For="2001:db8::1")[0] == 200
    sent = served.endpoint.headers[-1]
    assert (sent["X-Forwarded-For"], sent["X-Real-IP"]) == (address, address)
    wait_until(
        lambda: address in {line["client"] for line in served.nginx.log()}, "the access log does not name it"
    )


def test_a_client_without_a_host_gets_the_address_it_came_to(served: Served) -> None:
    served.case("plain")
    connection = http.client.HTTPConnection("::1", served.port, timeout=10)
    connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"  # type: ignore[attr-defined]
    connection.putrequest("POST", "/predict", skip_host=True)
    connection.putheader("Content-Length", "0")
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, ANSWER)
    connection.close()
    assert served.endpoint.headers[-1]["Host"] == "[::1]"


@pytest.mark.parametrize(
    ("host", "sent_to"), [("[::1]", "[::1]"), ("evil.example", "[::1]"), ("models.example", "models.example")]
)
def test_a_client_without_tls_is_sent_to_an_address_that_a_url_may_have(
    served: Served, host: str, sent_to: str
) -> None:
    served.case("tls")
    status, headers = served.ask(Host=host)
    assert (status, headers["Location"]) == (308, f"https://{sent_to}:{served.tls_port}/predict")


def test_private_addresses_and_no_others_are_operators(served: Served) -> None:
    served.case("operators")
    assert served.ask("/docs")[0] == 200  # ::1 itself
    answers = {client: served.ask("/docs", X_Forwarded_For=client)[0] for client in ("fd00::7", "fe80::7")}
    assert answers == {"fd00::7": 200, "fe80::7": 200}
    for client in ("2001:db8::1", "::ffff:203.0.113.1"):
        assert served.ask("/docs", X_Forwarded_For=client)[0] == 403


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:2::1"),
        ("2001:db8::1", "2001:db8:0:0:1::", "2001:db8:1::1"),
        ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
    ],
)
def test_a_rate_is_for_the_first_64_bits_of_an_address(
    served: Served, first: str, same: str, other: str
) -> None:
    served.case("plain")  # which has no zone, so that the next configuration begins to count
    served.case("rate")
    assert [served.ask_of(first) for _ in range(BURST)] == [200] * BURST
    assert 429 in [served.ask_of(same) for _ in range(BURST)]
    assert served.ask_of(other) == 200


@contextmanager
def in_flight(served: Served, client: str, count: int) -> Iterator[None]:
    """Have so many requests of a client wait for the endpoint."""
    before = len(served.endpoint.headers)
    served.endpoint.answers.clear()
    threads = [threading.Thread(target=served.ask_of, args=(client,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(served.endpoint.headers) == before + count, "the requests are not in flight")
        yield
    finally:
        served.endpoint.answers.set()
        for thread in threads:
            thread.join()


def test_the_addresses_of_one_network_share_what_may_be_in_flight(served: Served) -> None:
    served.case("in flight")
    with in_flight(served, "2001:db8::1", 2):
        assert served.ask_of("2001:db8::2") == 429


def test_a_fleet_that_listened_by_ipv4_alone_takes_ipv6_over_by_a_reload(served: Served) -> None:
    """Requests go on meanwhile, on kept connections and on new ones, and none is lost."""
    ours = served.configurations["ipv4"]
    earlier = ours.replace(
        "limit_conn_zone $flotilla_address zone=flotilla_in_flight:",
        "limit_conn_zone $binary_remote_addr zone=flotilla_connections:",
    ).replace("limit_conn flotilla_in_flight ", "limit_conn flotilla_connections ")
    assert "limit_conn flotilla_connections " in earlier
    served.nginx.serve(earlier)
    with pytest.raises(OSError):  # noqa: PT011  # refused, or no such address
        served.ask()

    ended = threading.Event()
    answers: list[int] = []
    errors: list[Exception] = []

    def keep_asking(*, kept: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        while not ended.is_set():
            try:
                connection.request("POST", "/predict", b"{}")
                response = connection.getresponse()
                response.read()
                answers.append(response.status)
            except Exception as error:
                errors.append(error)
            if not kept:
                connection.close()

    threads = [threading.Thread(target=keep_asking, kwargs={"kept": kept}) for kept in (True, False)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) > 20, "no requests are answered")
    try:
        for _ in range(3):
            served.case("plain")
            assert served.ask()[0] == 200
            served.nginx.serve(earlier)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert set(answers) == {200}

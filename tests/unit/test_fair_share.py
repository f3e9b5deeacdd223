"""How a real Nginx shares the endpoints' time for long requests among clients."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import real_nginx
from real_nginx import Endpoint, free_port, wait_until

pytestmark = pytest.mark.long

LONG = b" " * 900_000  # 180 ms of work, until an endpoint has told what it takes
WHOLE = 5  # such requests may be under way: 500 ms for each of the 2 that the endpoint computes at a time
ALICE, BOB, CAROL = "192.0.2.1", "198.51.100.1", "203.0.113.1"
Response = tuple[int, str | None, bytes]


@dataclass
class Balancer:
    """A running Nginx in front of a stand-in of an endpoint."""

    endpoint: Endpoint
    port: int
    pool: ThreadPoolExecutor

    def ask(self, client: str, body: bytes = LONG, **headers: str) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", "/predict", body, {"X-Forwarded-For": client, **headers})
        response = connection.getresponse()
        content = response.read()
        assert response.headers["X-Work"] is None
        connection.close()
        return response.status, response.headers["Retry-After"], content

    @contextmanager
    def under_way(self, client: str, count: int, body: bytes = LONG) -> Iterator[list[Future[Response]]]:
        """Have so many long requests of a client under way, none of which has been answered."""
        before = len(self.endpoint.headers)
        self.endpoint.answers.clear()
        futures = [self.pool.submit(self.ask, client, body) for _ in range(count)]
        try:
            wait_until(lambda: len(self.endpoint.headers) == before + count, "the requests are not under way")
            yield futures
        finally:
            self.endpoint.answers.set()


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Balancer]:
    port, status_port, endpoint_port = (free_port() for _ in range(3))
    variables = {
        "nginx_lb_port": port,
        "nginx_lb_status_port": status_port,
        "nginx_lb_trusted_proxies": ["127.0.0.1"],
    }
    configurations, image = real_nginx.render(tmp_path, {"share": variables}, endpoint_port)
    installed = real_nginx.installation(image)
    with (
        real_nginx.running(tmp_path, installed, endpoint_port, status_port) as (nginx, endpoint),
        ThreadPoolExecutor(16) as pool,
    ):
        nginx.serve(configurations["share"])
        yield Balancer(endpoint, port, pool)
        assert "js periodic" not in nginx.errors()


def test_one_client_alone_may_have_all_and_no_more(balancer: Balancer) -> None:
    with balancer.under_way(ALICE, WHOLE) as futures:
        status, retry_after, content = balancer.ask(ALICE)
        assert (status, retry_after) == (429, "1")
        assert b"this client has its share of the work of large requests under way" in content
    assert [future.result()[0] for future in futures] == [200] * WHOLE
    assert balancer.ask(ALICE)[:2] == (200, None)


def test_short_requests_are_not_counted(balancer: Balancer) -> None:
    with balancer.under_way(ALICE, WHOLE):
        short = balancer.pool.submit(balancer.ask, ALICE, b"{}")
        wait_until(lambda: len(balancer.endpoint.headers) == WHOLE + 1, "the short request waits")
    assert short.result()[0] == 200


def test_another_client_gets_a_share_at_once(balancer: Balancer) -> None:
    with balancer.under_way(ALICE, WHOLE), balancer.under_way(BOB, 2):
        assert balancer.ask(BOB)[0] == 429  # 540 ms would be more than half
        assert balancer.ask(ALICE)[0] == 429
        with balancer.under_way(CAROL, 1):
            assert balancer.ask(CAROL)[0] == 429  # 360 ms would be more than a third


def test_many_addresses_of_one_network_count_as_few_clients(balancer: Balancer) -> None:
    with ExitStack() as stack:
        for number in range(WHOLE):
            stack.enter_context(balancer.under_way(f"192.0.2.{number}", 1))
        assert [balancer.ask(f"192.0.2.{number}")[0] for number in range(WHOLE, 2 * WHOLE)] == [429] * WHOLE
        # As one of eleven clients, this one would get 91 ms; beside a network that counts as four, it gets 200.
        stack.enter_context(balancer.under_way(BOB, 2, LONG[:450_000]))
        assert balancer.ask(BOB)[0] == 429


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("2001:db8::1", "2001:db8:0:0:1::", "2001:db8:1::1"),
        ("2001:db8:0:7:1:2:3:4", "2001:db8:0:7::9", "2001:db9:0:7::9"),
        ("198.51.100.1", "::ffff:198.51.100.1", "::ffff:203.0.113.1"),
    ],
)
def test_a_client_of_ipv6_is_the_first_64_bits_of_its_address(
    balancer: Balancer, first: str, same: str, other: str
) -> None:
    with balancer.under_way(first, WHOLE):
        assert balancer.ask(same)[0] == 429
        with balancer.under_way(other, 1):
            pass  # it is let in


def test_an_endpoint_is_told_that_a_client_has_left(balancer: Balancer) -> None:
    balancer.endpoint.answers.clear()
    with socket.create_connection(("127.0.0.1", balancer.port), timeout=10) as client:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(LONG)}\r\nX-Work-Key: mine\r\n\r\n"
        client.sendall(head.encode() + LONG)
        wait_until(lambda: len(balancer.endpoint.headers) == 1, "the request is not under way")
    wait_until(lambda: len(balancer.endpoint.abandoned) > 0, "the endpoint is not told")
    (request,) = balancer.endpoint.headers
    assert balancer.endpoint.abandoned == [request["X-Work-Key"]]
    # Its work counts no longer than the endpoint takes to notice, and then there is room for all again.
    with balancer.under_way("127.0.0.1", WHOLE - 1):
        last = balancer.pool.submit(balancer.ask, "127.0.0.1")

        def let_in() -> bool:
            nonlocal last
            if last.done():
                assert last.result()[0] == 429
                last = balancer.pool.submit(balancer.ask, "127.0.0.1")
            return len(balancer.endpoint.headers) == 1 + WHOLE

        wait_until(let_in, "the work of the client that has left still counts")


def test_the_work_of_a_client_that_has_left_counts_while_no_endpoint_knows(balancer: Balancer) -> None:
    """As one of an earlier version, which answers 404."""
    balancer.endpoint.abandoned_status = 404
    balancer.endpoint.answers.clear()
    with ExitStack() as stack:
        for _ in range(WHOLE):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", balancer.port), timeout=10))
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(LONG)}\r\n\r\n"
            client.sendall(head.encode() + LONG)
        wait_until(lambda: len(balancer.endpoint.headers) == WHOLE, "the requests are not under way")
    wait_until(lambda: len(balancer.endpoint.abandoned) >= WHOLE, "the endpoint is not told")
    assert balancer.ask("127.0.0.1")[0] == 429


def test_clients_tell_endpoints_nothing(balancer: Balancer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=10)
    connection.request("POST", "/abandoned", b"0123")
    assert connection.getresponse().status == 404
    connection.close()
    assert balancer.ask(ALICE, b"{}", **{"X-Work-Key": "mine"})[0] == 200
    assert balancer.endpoint.abandoned == []
    assert "X-Work-Key" not in balancer.endpoint.headers[0]


def test_the_work_is_what_the_endpoint_told(balancer: Balancer) -> None:
    balancer.endpoint.work = "600.0"
    assert balancer.ask(ALICE)[0] == 200
    with balancer.under_way(ALICE, 1):
        assert balancer.ask(ALICE)[0] == 429

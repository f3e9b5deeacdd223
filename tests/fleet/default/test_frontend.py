"""What the frontend lets in: operators' routes by address, so much from one client, and nothing but HTTP."""

import json
import socket
import time
from contextlib import ExitStack
from functools import partial

import pytest

from fleet.fleet import Fleet
from fleet.frontend import ACCESS_LOG, FROM_ANYWHERE, OPERATORS_ROUTES, SPELLINGS, from_anywhere, logged
from fleet.machine import wait_until

CONNECTIONS = 256  # nginx_lb_client_connections


def exchanged(fleet: Fleet, request: bytes) -> bytes:
    """Return all that comes back for the bytes of a request."""
    with socket.create_connection((fleet.load_balancer.address, 80), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_log_that_is_full_is_put_aside_and_none_of_it_is_lost(fleet: Fleet) -> None:
    balancer = fleet.load_balancer
    aside = f"{ACCESS_LOG}.1"
    marked = f"/full-{time.time_ns()}"
    asked = 0

    def lines(log: str) -> int:
        return int(balancer.attempt(["grep", "--text", "--count", marked, log]).stdout or 0)

    def asked_and_logged(log: str) -> bool:
        nonlocal asked
        asked += 1
        fleet.get(f"{marked}/{asked}")
        return lines(log) > 0

    wait_until("the log is written", partial(asked_and_logged, ACCESS_LOG))
    # As large as it may get, but of nothing.
    balancer.run("truncate", "--size", "50M", ACCESS_LOG)
    wait_until("Nginx puts the log aside", partial(asked_and_logged, aside))
    wait_until("it goes on with another", partial(asked_and_logged, ACCESS_LOG))
    wait_until("every request has a line", lambda: lines(aside) + lines(ACCESS_LOG) == asked, 10)


@pytest.mark.parametrize("target", [*OPERATORS_ROUTES, *SPELLINGS])
def test_operators_routes_are_closed_to_the_world(fleet: Fleet, target: str) -> None:
    answer = from_anywhere(fleet, target)
    assert answer.status == 403
    assert "operators" in json.loads(answer.text)["error"]
    assert "X-Endpoint" not in answer.headers


@pytest.mark.parametrize("target", OPERATORS_ROUTES)
def test_operators_routes_are_open_to_a_private_network(fleet: Fleet, target: str) -> None:
    # The forged header is not believed, or the answer would be a 403.
    assert fleet.get(target, FROM_ANYWHERE).status_code == 200


def test_the_world_may_ask_for_the_rest(fleet: Fleet) -> None:
    assert from_anywhere(fleet, "/v2").status == 200


def test_answers_are_not_to_be_guessed_at_or_framed(fleet: Fleet) -> None:
    for path in ("/v2", "/no/such/path"):
        headers = fleet.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Server"] == "nginx"


@pytest.mark.parametrize(
    ("request_line", "header", "status"),
    [
        ("GET /metrics%00 HTTP/1.1", "", 400),
        ("GET /v2/../../metrics HTTP/1.1", "", 400),
        ("GET /v2 HTTP/3.0", "", 400),
        ("nonsense", "", 400),
        ("POST /predict HTTP/1.1", "Transfer-Encoding: gzip", 400),
        ("POST /predict HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: 4", 400),
        ("TRACE /v2 HTTP/1.1", "", 405),
        (f"GET /{'a' * 9000} HTTP/1.1", "", 431),
        ("GET /v2 HTTP/1.1", f"X-Long: {'a' * 64_000}", 431),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_request_is_refused_in_json(
    fleet: Fleet, request_line: str, header: str, status: int
) -> None:
    lines = [request_line, "Host: x", "Connection: close", *([header] if header else []), "", ""]
    head, _, body = exchanged(fleet, "\r\n".join(lines).encode()).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(body)["error"]


def test_a_client_forges_no_line_of_the_log(fleet: Fleet) -> None:
    forged = '{"status":500,"slot":"blue"}'
    fleet.get(f'/line%0a{forged}%22,"status":500', {"X-Request-Id": f'"{forged}'})
    line = logged(fleet, uri=f'/line\n{forged}","status":500')
    assert line["status"] == 404
    assert forged not in str(line["request_id"])
    assert line["client"] == fleet.address_of_this_machine


def test_what_the_frontend_refuses_counts_for_no_release(fleet: Fleet) -> None:
    from_anywhere(fleet, "/metrics?refused")
    assert logged(fleet, status=403, client=FROM_ANYWHERE["X-Forwarded-For"])["slot"] == ""


def test_one_address_can_not_take_every_place(fleet: Fleet) -> None:
    slow = (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    with ExitStack() as held:

        def hold_one_more_upload() -> None:
            connection = socket.create_connection((fleet.load_balancer.address, 80), timeout=10)
            held.enter_context(connection).sendall(slow)

        def no_place_is_left() -> bool:
            # An earlier request that Nginx was still closing may have had the place of one of these uploads.
            hold_one_more_upload()
            return fleet.get("/v2").status_code == 429

        for _ in range(CONNECTIONS):
            hold_one_more_upload()
        # Nginx reads what was sent in its own time.
        wait_until("the address has no place left", no_place_is_left)
        refused = fleet.get("/v2")
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json()["error"]
        assert from_anywhere(fleet, "/v2").status == 200

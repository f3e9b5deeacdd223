"""Malicious requests to the frontend are refused, and real clients don't notice."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from fleet.fleet import Fleet
from fleet.frontend import OPERATORS_ROUTES, SPELLINGS, from_anywhere, logged, logged_since
from fleet.load import under_load

HOLD = Path(__file__).parents[1] / "hold_connections.py"
QUIET_SECONDS = 2.0
NEXT = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
PREDICT = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = PREDICT + "Transfer-Encoding: chunked\r\n\r\n"

# Requests that two servers might take for two different numbers of requests.
SMUGGLED = {
    "CL and TE": f"{PREDICT}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{NEXT}",
    "TE and CL": f"{PREDICT}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{NEXT}",
    "two CL": f"{PREDICT}Content-Length: 0\r\nContent-Length: {len(NEXT)}\r\n\r\n{NEXT}",
    "a list of CL": f"{PREDICT}Content-Length: 0, {len(NEXT)}\r\n\r\n{NEXT}",
    "CL with a sign": f"{PREDICT}Content-Length: +{len(NEXT)}\r\n\r\n{NEXT}",
    "CL below 0": f"{PREDICT}Content-Length: -1\r\n\r\n{NEXT}",
    "CL in hexadecimal": f"{PREDICT}Content-Length: 0x10\r\n\r\n{NEXT}",
    "CL that is too long a number": f"{PREDICT}Content-Length: {2**64 + 1}\r\n\r\n{NEXT}",
    "two TE": f"{PREDICT}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{NEXT}",
    "a list of TE": f"{PREDICT}Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n{NEXT}",
    "an unknown TE": f"{PREDICT}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{NEXT}",
    "TE with a vertical tab": f"{PREDICT}Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n{NEXT}",
    "TE with a space before the colon": f"{PREDICT}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{NEXT}",
    "TE of HTTP/1.0": CHUNKED.replace("HTTP/1.1", "HTTP/1.0") + f"0\r\n\r\n{NEXT}",
    "a bare CR in a header": f"{PREDICT}X-One: 1\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{NEXT}",
    "a bare CR at a header's end": f"{PREDICT}X-One: 1\rContent-Length: {len(NEXT)}\r\n\r\n{NEXT}",
    "a bare CR in the request line": f"POST /predict\rHTTP/1.1\r\nHost: x\r\n\r\n{NEXT}",
    "a NUL in a header": f"{PREDICT}X-One: \0\r\n\r\n{NEXT}",
    "a chunk too long to count": f"{CHUNKED}{'F' * 17}\r\n{NEXT}",
    "a chunk below 0": f"{CHUNKED}-1\r\n{NEXT}",
    "a chunk in another notation": f"{CHUNKED}0x2\r\n[]\r\n0\r\n\r\n{NEXT}",
    "a chunk longer than it says": f"{CHUNKED}2\r\n[],\r\n0\r\n\r\n{NEXT}",
    "a chunk whose length ends in a bare CR": f"{CHUNKED}2\r[]\r\n0\r\n\r\n{NEXT}",
    "a chunk without a length": f"{CHUNKED}\r\n{NEXT}",
    "two hosts": f"POST /predict HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n{NEXT}",
    "no host": f"POST /predict HTTP/1.1\r\n\r\n{NEXT}",
}

INTERNAL = ["/_lb/version", "/_lb/ready", "/_lb/bad_request", "/_shadow", "/_staged"]


def spellings(path: str) -> Iterator[str]:
    """Yield a path, and others that some server might take for it."""
    yield path
    yield f"/{path}"
    yield f"/.{path}"
    yield f"/v2/..{path}"
    yield f"/v2/%2e%2e{path}"
    yield f"/v2/..%2f{path[1:]}"
    yield f"/%2f{path[1:]}"
    yield f"/%252f{path[1:]}"
    yield "/" + "".join(f"%{ord(letter):02x}" for letter in path[1:])
    yield path.replace("/_", "/%5f")
    yield f"{path}?x"
    yield f"{path}%00"
    yield f"{path};x"
    yield path.upper()
    yield path.replace("/", "\\")
    yield f"http://127.0.0.1:8090{path}"
    yield f"http://x@127.0.0.1{path}"


def heard(fleet: Fleet, request: bytes) -> bytes:
    """Return what comes back for the bytes of a request until the connection is closed, or nothing has come for 2 s."""
    answer = b""
    with socket.create_connection((fleet.load_balancer.address, 80), timeout=QUIET_SECONDS) as connection:
        try:
            connection.sendall(request)
            while got := connection.recv(65536):
                answer += got
        except (TimeoutError, ConnectionError):
            pass
    return answer


def status_of(answer: bytes) -> int:
    """Return the status of an answer, 0 where there is none."""
    return int(answer.split(maxsplit=2)[1]) if answer else 0


def assert_refused(answer: bytes) -> None:
    """Check that there is one answer at most, and that it is a refusal."""
    assert answer.count(b"HTTP/1.") <= 1, answer
    assert status_of(answer) in {0, *range(400, 500)}, answer


def test_no_request_is_smuggled_in_another(fleet: Fleet) -> None:
    with under_load([fleet.url]) as load:
        answers = {name: heard(fleet, request.encode()) for name, request in SMUGGLED.items()}
    for answer in answers.values():
        assert_refused(answer)
    load.record().assert_nothing_lost()


def test_what_the_load_balancer_asks_itself_is_nobody_elses(fleet: Fleet) -> None:
    targets = [target for path in INTERNAL for target in spellings(path)]
    with under_load([fleet.url]) as load:
        for target in targets:
            line = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:8090\r\nConnection: close\r\n\r\n"
            assert_refused(heard(fleet, line.encode()))
    load.record().assert_nothing_lost()


def test_operators_routes_are_closed_to_the_world_in_any_spelling(fleet: Fleet) -> None:
    with under_load([fleet.url]) as load:
        for target in (*OPERATORS_ROUTES, *SPELLINGS):
            answer = from_anywhere(fleet, target)
            assert answer.status == 403, target
    load.record().assert_nothing_lost()


@pytest.mark.parametrize("sizes", [[64_000], [4_000] * 16], ids=["one", "many"])
def test_headers_of_64_kilobytes_are_refused(fleet: Fleet, sizes: list[int]) -> None:
    lines = "".join(f"X-Long-{number}: {'a' * size}\r\n" for number, size in enumerate(sizes))
    with under_load([fleet.url]) as load:
        assert_refused(heard(fleet, f"GET /v2 HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()))
    load.record().assert_nothing_lost()


@pytest.mark.parametrize(
    "request_id",
    [
        "a%0d%0aX-Forged: 1",
        "a\nX-Forged: 1",
        "a\r\n X-Forged: 1",
        "a\rX-Forged: 1",
        "a\v\fX",
        'a","status":500,"',
    ],
    ids=quote,
)
def test_a_request_id_adds_nothing_to_answer_or_log(fleet: Fleet, request_id: str) -> None:
    request = f"GET /forged HTTP/1.1\r\nHost: x\r\nX-Request-Id: {request_id}\r\nConnection: close\r\n\r\n"
    began, here = time.time(), fleet.address_of_this_machine
    with under_load([fleet.url]) as load:
        answer = heard(fleet, request.encode())
        fleet.get("/after", {"X-Request-Id": "plain-word"})
    assert_refused(answer)
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"\r\nx-forged:" not in head
    # The load sends nothing but POST. The log has one line for each of the two requests.
    forged, after = sorted(
        logged_since(fleet, began, here, 2), key=lambda line: bool(line["uri"] == "/after")
    )
    assert (after["uri"], after["request_id"]) == ("/after", "plain-word")
    assert forged["status"] in range(400, 500), forged
    # Nginx gave the first one an id, or kept the plain part of the forged one.
    assert set(str(forged["request_id"])) <= set("0123456789abcdef"), forged
    load.record().assert_nothing_lost()


def test_nobody_is_believed_who_says_it_is_another(fleet: Fleet) -> None:
    claimed = "203.0.113.77"
    forged = [f"X-Forwarded-For: {claimed}", f"X-Real-IP: {claimed}", f"Forwarded: for={claimed}"]
    forged += ["X-Forwarded-Proto: https", f"Client-IP: {claimed}", f"True-Client-IP: {claimed}"]
    lines = "\r\n".join(["GET /who-am-i HTTP/1.1", "Host: x", *forged, "Connection: close", "", ""])
    with under_load([fleet.url]) as load:
        heard(fleet, lines.encode())
    assert logged(fleet, uri="/who-am-i")["client"] == fleet.address_of_this_machine
    load.record().assert_nothing_lost()


def upload(fleet: Fleet, head: str, piece: bytes, size: int) -> tuple[bytes, int]:
    """Send a body in pieces until there is an answer; return the answer and the bytes that were sent by then."""
    answer, sent = b"", 0
    with socket.create_connection((fleet.load_balancer.address, 80), timeout=30) as connection:
        try:
            connection.sendall(head.encode())
            while sent < size:
                connection.sendall(piece)
                sent += len(piece)
                connection.setblocking(False)
                try:
                    answer += connection.recv(65536)
                    break
                except BlockingIOError:
                    connection.settimeout(30)
        except ConnectionError:
            pass
    return answer, sent


@pytest.mark.parametrize("how", ["said", "chunked"])
def test_a_body_of_a_gigabyte_is_refused_at_once(fleet: Fleet, how: str) -> None:
    size, content = 1 << 30, bytes(1 << 16)
    piece = content if how == "said" else b"10000\r\n" + content + b"\r\n"
    head = f"{PREDICT}Content-Length: {size}\r\n\r\n" if how == "said" else CHUNKED
    with under_load([fleet.url]) as load:
        answer, sent = upload(fleet, head, piece, size)
    assert status_of(answer) in (0, 413), answer
    assert sent < 64 << 20
    load.record().assert_nothing_lost()


def held(fleet: Fleet, kind: str, count: int, seconds: float) -> dict[str, int]:
    """Have the outsider hold connections to the load balancer; return how many ended in what way."""
    arguments = ["-", kind, fleet.load_balancer.address, str(count), str(seconds)]
    ends: dict[str, int] = json.loads(fleet.outsider.run("python3", *arguments, stdin=HOLD.read_text()))
    return ends


@pytest.mark.parametrize(
    ("kind", "count", "ways"),
    [
        # client_header_timeout is for all of the headers.
        ("headers", 500, {"closed", "408"}),
        # 256 of one address are let in, the others told so.
        ("bodies", 500, {"429", "held", "closed", "408"}),
        ("idle", 10_000, {"closed"}),
    ],
)
def test_held_connections_end_and_cost_nobody_else_anything(
    fleet: Fleet, kind: str, count: int, ways: set[str]
) -> None:
    with under_load([fleet.url]) as load:
        ends = held(fleet, kind, count, 30)
        load.during(1)
    assert ends.keys() <= ways, ends
    assert sum(ends.values()) == count
    if kind == "bodies":
        assert ends["429"] >= count - 256
    load.record().assert_nothing_lost()

"""The load counts what is lost or wrong, as a server that misbehaves on purpose shows."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path

import pytest

from fleet import load
from fleet.load import IRIS, RIGHT, Answer, Question, Record, under_load

pytestmark = pytest.mark.long

SIGNED = {"X-Release": "abc", "X-Endpoint": "node1"}
RIGHT_BODY = json.dumps({"predictions": RIGHT}).encode()


class Server(ThreadingHTTPServer):
    """Answers right, but for one request in `every`, of which `fault` takes care."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fault: Fault, every: int = 1) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault = fault
        self.every = every
        self.received = Counter[str]()  # requests and connections
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.received["connections"] += 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.received["requests"] += 1
            number = self.server.received["requests"]
            faulty = number % self.server.every == 0
        (self.server.fault if faulty else Handler.answer)(self)

    def answer(
        self,
        status: int = 200,
        body: bytes = RIGHT_BODY,
        headers: dict[str, str] = SIGNED,
        length: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        """End the connection the hard way."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def hang_up(self) -> None:
        self.close_connection = True

    def break_off(self) -> None:
        """Send less than the whole answer."""
        self.answer(length=1000)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


Fault = Callable[[Handler], None]
Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server with a fault."""
    servers = []

    def start(fault: Fault, every: int = 1) -> Server:
        server = Server(fault, every)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def send(url: str, path: Path, rate: float, seconds: float, timeout: float = 5) -> list[Answer]:
    """Run the load to its end and return the answers."""
    command = [sys.executable, load.__file__, url, "--answers", str(path / "answers")]
    command += ["--rate", str(rate), "--seconds", str(seconds), "--timeout", str(timeout)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.wait(timeout=30) == 0
    return [Answer(**json.loads(line)) for line in (path / "answers").read_text().splitlines()]


def test_right_answers_are_counted_over_kept_connections(serve: Serve, tmp_path: Path) -> None:
    server = serve(Handler.answer)
    answers = send(server.url, tmp_path, rate=100, seconds=1)
    assert len(answers) == server.received["requests"] == 100
    assert {(answer.status, answer.release, answer.endpoint, answer.error) for answer in answers} == {
        (200, "abc", "node1", "")
    }
    assert server.received["connections"] < 20
    gaps = sorted(answer.sent for answer in answers)
    assert gaps[-1] - gaps[0] == pytest.approx(0.99, abs=0.001)


# What a server may do to a request, and what is said of it.
FAULTS: list[tuple[Fault, str]] = [
    (lambda handler: handler.answer(body=b'{"predictions": ["setosa", "setosa"]}'), "['setosa', 'setosa']"),
    (lambda handler: handler.answer(500, b"broken"), "status 500: b'broken'"),
    (lambda handler: handler.answer(503, b"", {"Retry-After": "2"}), "status 503: b''"),
    (lambda handler: handler.answer(body=b"<html>"), "no predictions: b'<html>'"),
    (lambda handler: handler.answer(body=b"[]"), "no predictions: b'[]'"),
    (lambda handler: handler.answer(headers={}), "X-Release is '', X-Endpoint ''"),
    (lambda handler: handler.answer(headers={"X-Release": "abc"}), "X-Release is 'abc', X-Endpoint ''"),
    (Handler.reset, "Connection reset by peer"),
    (Handler.hang_up, "ServerDisconnectedError"),
    (Handler.break_off, "ClientPayloadError"),
    (lambda handler: time.sleep(1.5), "no answer in time"),
]


def test_every_lost_or_wrong_answer_is_counted_and_asked_for_once(serve: Serve, tmp_path: Path) -> None:
    faults = cycle([fault for fault, _ in FAULTS])
    server = serve(lambda handler: next(faults)(handler), every=2)
    rounds = 3
    answers = send(server.url, tmp_path, rate=4 * len(FAULTS), seconds=rounds / 2, timeout=1)
    assert len(answers) == server.received["requests"] == 2 * rounds * len(FAULTS)
    errors = [answer.error for answer in answers if answer.error]
    assert len(errors) == rounds * len(FAULTS)
    assert {answer.status for answer in answers if answer.retry_after == "2"} == {503}
    for _, said in FAULTS:
        assert len([error for error in errors if said in error]) == rounds, (said, errors)


def test_a_refused_connection_is_a_lost_request(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answers = send(f"http://127.0.0.1:{port}", tmp_path, rate=20, seconds=0.5)
    assert len(answers) == 10
    assert all("ClientConnectorError" in answer.error and answer.status == 0 for answer in answers)


def test_slow_answers_do_not_hold_up_other_requests(serve: Serve, tmp_path: Path) -> None:
    def slow(handler: Handler) -> None:
        time.sleep(0.5)
        handler.answer()

    began = time.monotonic()
    answers = send(serve(slow).url, tmp_path, rate=50, seconds=1)
    assert time.monotonic() - began < 4
    assert len(answers) == 50
    assert all(0.5 <= answer.seconds < 1.5 and not answer.error for answer in answers)


def test_the_load_runs_beside_a_block_and_ends_with_it(serve: Serve) -> None:
    one, two = serve(Handler.answer), serve(Handler.answer)
    with under_load([one.url, two.url], rate=50) as running:
        seen = running.during(0.5)
        assert 15 <= len(seen.answers) <= 30
        assert seen.through(two.url).by_endpoint().total() in range(7, 16)
    record = running.record()
    record.assert_nothing_lost()
    sent = len(record.answers)
    assert sent == one.received["requests"] + two.received["requests"] >= 75
    time.sleep(0.3)
    assert sent == one.received["requests"] + two.received["requests"]


def test_each_question_is_asked_in_turn_and_has_its_own_right_answer(serve: Serve) -> None:
    with under_load([serve(Handler.answer).url], 50, questions=[IRIS, Question({}, ["other"])]) as running:
        running.during(0.3)
    wrong = [bool(answer.error) for answer in running.record().answers]
    assert wrong == [number % 2 == 1 for number in range(len(wrong))]
    assert len(wrong) > 50


def test_a_load_that_ends_too_early_is_an_error(serve: Serve) -> None:
    with (
        pytest.raises(AssertionError, match="ended before the test did"),
        under_load([serve(Handler.answer).url], 20, 0.2),
    ):
        time.sleep(0.5)


def answer(sent: float, release: str = "old", endpoint: str = "node1", error: str = "") -> Answer:
    return Answer(sent, 0.01 * sent, "http://lb1", 0 if error else 200, release, endpoint, error)


@pytest.fixture
def flip() -> Record:
    """Ten requests, one a second, of which the old release answers the first five and the seventh."""
    releases = ["old"] * 5 + ["new", "old"] + ["new"] * 3
    return Record(
        [answer(number, release, f"node{number % 2}") for number, release in enumerate(releases, 1)]
    )


def test_releases_have_spans_that_overlap(flip: Record) -> None:
    assert flip.span("old") == (1, 7)
    assert flip.span("new") == (6, 10)
    assert flip.overlap("old", "new") == flip.overlap("new", "old") == 1
    assert flip.between(8).by_release() == {"new": 3}
    with pytest.raises(AssertionError, match=r"later answered nothing; these did: \{'old': 6, 'new': 4\}"):
        flip.span("later")


def test_releases_one_after_the_other_do_not_overlap() -> None:
    assert Record([answer(1), answer(2), answer(3, "new")]).overlap("old", "new") == 0


def replaced(*stages: tuple[str, str]) -> Record:
    """What three nodes answer, one after another and three times a stage.

    A stage names the nodes that serve the new release, and the one that serves nothing.
    """
    nodes = ("node1", "node2", "node3")
    rounds = [stage for stage in stages for _ in range(3)]
    return Record(
        [
            answer(10 * number + index, "new" if node in new else "old", node)
            for number, (new, away) in enumerate(rounds)
            for index, node in enumerate(nodes)
            if node != away
        ]
    )


def test_endpoints_that_are_replaced_one_by_one_are_told_from_a_flip() -> None:
    two, all_three = "node2 node1", "node2 node1 node3"
    stages = [
        ("", ""),
        ("", "node2"),
        ("node2", ""),
        ("node2", "node1"),
        (two, ""),
        (two, "node3"),
        (all_three, ""),
    ]
    rolled = replaced(*stages)
    rolled.assert_replaced_one_by_one("old", "new", apart_seconds=1)
    assert [endpoint for endpoint, _, _ in rolled.switches("old", "new")] == ["node2", "node1", "node3"]
    with pytest.raises(AssertionError, match="node2 left old before node1 served new"):
        replaced(("", ""), (all_three, "")).assert_replaced_one_by_one("old", "new", apart_seconds=1)
    with pytest.raises(AssertionError, match="node2 and node1 went to new at once"):
        rolled.assert_replaced_one_by_one("old", "new", apart_seconds=80)
    with pytest.raises(AssertionError, match="new answered nothing"):
        replaced(("", ""), ("node2", ""), (two, "")).assert_replaced_one_by_one("old", "new", apart_seconds=1)
    with pytest.raises(AssertionError, match=r"only \['node1'\] answered"):
        Record([answer(1), answer(2, "new")]).assert_replaced_one_by_one("old", "new", apart_seconds=1)


def test_the_longest_silence_is_between_right_answers() -> None:
    lost = [answer(2, "", "", "no answer in time"), answer(3, "", "", "no answer in time")]
    record = Record([answer(1), *lost, answer(4), answer(5), answer(6)])
    assert record.silence() == pytest.approx((1.01, 4.04))


def test_shares_and_quantiles(flip: Record) -> None:
    assert flip.endpoint_shares() == {"node0": 0.5, "node1": 0.5}
    assert flip.release_share("new") == 0.4
    assert flip.release_share("later") == 0
    assert flip.quantile(0.5) == pytest.approx(0.05)
    assert flip.quantile(0.95) == flip.quantile(1) == pytest.approx(0.1)


def test_refused_is_what_is_told_when_to_try_again() -> None:
    refused = Answer(1, 0.01, "http://lb1", 503, error="status 503", retry_after="1")
    others = [answer(2), replace(refused, retry_after=""), replace(refused, status=500)]
    record = Record([refused, *others])
    assert record.refused.answers == [refused]
    assert record.right.answers == [others[0]]
    assert record.lost == [refused, *others[1:]]


def test_what_was_lost_is_told(flip: Record) -> None:
    flip.assert_nothing_lost()
    record = Record([*flip.answers, answer(11, "", "", "no answer in time")])
    assert [lost.sent for lost in record.lost] == [11]
    with pytest.raises(
        AssertionError, match=r"1 of 11 lost or wrong:\n10\.00 s, http://lb1 .*no answer in time"
    ):
        record.assert_nothing_lost()
    with pytest.raises(AssertionError, match="nothing was sent"):
        Record([]).assert_nothing_lost()

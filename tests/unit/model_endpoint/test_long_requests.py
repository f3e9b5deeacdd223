"""Long requests wait for each other, short ones for none of them, and one whose client has left is not computed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from model_endpoint.web.long_requests import BUSY, LEFT, NICE, is_long
from model_endpoint.web.threads import SPARE, Threads, spare_threads
from unit.model_endpoint.server import Server, wait_until

pytestmark = pytest.mark.long

SHORT = b'{"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}'
LONG = json.dumps({"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]] * 10_000}).encode()
KEY = "0123456789abcdef0123456789abcdef"
# A server of one worker, whose model computes a block of many rows only when this file is there, and counts blocks.
GATED = """
import os, sys, time
from model_endpoint.models import blocks
from model_endpoint.__main__ import main
folder = os.environ["GATE"]
answer = blocks.answer_in_blocks
def gated(predictor, *arguments):
    def slow(rows, *options):
        with open(f"{folder}/blocks", "a") as file:
            file.write("x")
        while not os.path.exists(f"{folder}/open"):
            time.sleep(0.01)
        return predictor(rows, *options)
    return answer(slow, *arguments)
from model_endpoint.models import model
model.answer_in_blocks = gated
sys.exit(main())
"""


class Gate:
    """What the server's long requests wait for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> None:
        (self._folder / "open").touch()

    def close(self) -> None:
        (self._folder / "open").unlink()

    def blocks(self) -> int:
        """The number of blocks that have been begun."""
        file = self._folder / "blocks"
        return file.stat().st_size if file.exists() else 0


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture
def server(served: Path, tmp_path: Path) -> Iterator[Server]:
    server = Server(served, "-c", GATED, FLOTILLA_THREADS="1", FLOTILLA_WORKERS="1", GATE=str(tmp_path))
    server.wait(workers=1)
    yield server
    server.stop()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(SPARE + 8) as pool:
        yield pool


def send(
    pool: ThreadPoolExecutor, server: Server, count: int, **headers: str
) -> list[Future[tuple[int, Any]]]:
    return [pool.submit(server.ask, "POST", "/predict", LONG, **headers) for _ in range(count)]


def in_flight(server: Server) -> int:
    """The number of requests that the worker answers, other than the one that asks."""
    lines = server.ask("GET", "/metrics")[1].splitlines()
    return (
        sum(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("flotilla_requests_in_flight"))
        - 1
    )


def test_short_requests_do_not_wait_for_long_ones(
    server: Server, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    for _ in range(3):  # the threads take turns in taking requests
        answers = send(pool, server, 3)
        wait_until(lambda: in_flight(server) == 1)
        assert [server.ask("POST", "/predict", SHORT)[0] for _ in range(20)] == [200] * 20
        assert not any(answer.done() for answer in answers)
        gate.open()
        assert [answer.result()[0] for answer in answers] == [200] * 3
        gate.close()


def test_one_thread_takes_requests_once_long_ones_are_answered(
    server: Server, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    gate.open()
    for answer in send(pool, server, SPARE // 2):
        assert answer.result()[0] == 200

    def short(number: int) -> int:
        return server.ask("POST", "/predict", SHORT)[0]

    assert set(pool.map(short, range(200))) == {200}
    (worker,) = server.workers()
    before = switches(worker)
    assert set(pool.map(short, range(50))) == {200}
    after = switches(worker)
    # One thread reads from connections, and one answers.
    assert len([thread for thread in after if after[thread] - before.get(thread, 0) >= 10]) <= 2


def switches(process: int) -> dict[str, int]:
    """How often each thread of a process has waited."""
    found = {}
    for thread in Path(f"/proc/{process}/task").iterdir():
        lines = (thread / "status").read_text().splitlines()
        found[thread.name] = sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))
    return found


def test_more_long_requests_than_a_worker_holds_are_refused(
    server: Server, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    answers = send(pool, server, SPARE + 2)
    wait_until(lambda: sum(answer.done() for answer in answers) == 2)
    assert [answer.result() for answer in answers if answer.done()] == [(429, {"error": BUSY})] * 2
    assert server.ask("POST", "/predict", SHORT)[0] == 200
    gate.open()
    assert sorted(answer.result()[0] for answer in answers) == [200] * SPARE + [429] * 2


def test_what_is_abandoned_is_computed_no_further(
    server: Server, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    (computed,) = send(pool, server, 1, **{"X-Work-Key": KEY})
    wait_until(lambda: gate.blocks() == 1)
    (waiting,) = send(pool, server, 1, **{"X-Work-Key": KEY})
    (wanted,) = send(pool, server, 1, **{"X-Work-Key": KEY.replace("0", "1")})
    assert server.ask("POST", "/abandoned", KEY.encode())[0] == 200
    gate.open()
    assert computed.result() == (499, {"error": LEFT})
    assert waiting.result() == (499, {"error": LEFT})
    assert wanted.result()[0] == 200
    whole = gate.blocks() - 1
    assert whole > 1
    assert send(pool, server, 1)[0].result()[0] == 200
    assert gate.blocks() - 1 - whole == whole  # so neither of the abandoned ones had a second block


def test_a_long_request_tells_its_work_and_lets_others_come_first(server: Server, gate: Gate) -> None:
    gate.open()
    connection = server.connection()
    connection.request("POST", "/predict", LONG)
    answer = connection.getresponse()
    answer.read()
    assert 1 < float(answer.headers["X-Work"]) < 5000
    connection.request("POST", "/predict", SHORT)
    answer = connection.getresponse()
    answer.read()
    assert answer.headers["X-Work"] is None
    connection.close()
    (worker,) = server.workers()
    threads = [
        (thread / "stat").read_text().rsplit(")", 1)[1] for thread in Path(f"/proc/{worker}/task").iterdir()
    ]
    nice = [int(fields.split()[16]) for fields in threads]
    assert nice.count(min(19, min(nice) + NICE)) == 1


def test_an_answer_without_a_body_comes_from_a_thread_that_could_park(
    server: Server, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    answers = send(pool, server, 2)
    wait_until(lambda: gate.blocks() == 1)
    assert [server.ask("HEAD", "/v2/health/live")[0] for _ in range(5)] == [200] * 5
    gate.open()
    assert [answer.result()[0] for answer in answers] == [200] * 2
    assert [server.ask("HEAD", "/v2/health/live")[0] for _ in range(5)] == [200] * 5


def test_a_thread_that_ended_leaves_its_place() -> None:
    threads = Threads(1, SPARE)
    took = threading.Thread(target=lambda: threads.leave(b""))
    took.start()
    took.join()
    wait_until(lambda: not Path(f"/proc/self/task/{took.native_id}").exists())
    assert threading.get_ident() not in threads.taking
    assert threads.leave(b"answer") == [b"answer"]
    assert threading.get_ident() in threads.taking


@pytest.mark.parametrize(
    ("file", "limit", "workers", "spare"),
    [
        ("pids.max", "max", 64, SPARE),
        ("pids.max", "256", 2, SPARE),
        ("pids.max", "256", 8, 7),
        ("pids/pids.max", "256", 64, 1),
    ],
)
def test_a_container_of_few_threads_keeps_fewer_spare_ones(
    tmp_path: Path, file: str, limit: str, workers: int, spare: int
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(f"{limit}\n")
    assert spare_threads(workers, 1, tmp_path) == spare


@pytest.mark.parametrize(
    ("environ", "long"),
    [
        ({}, False),
        ({"CONTENT_LENGTH": "9999"}, False),
        ({"CONTENT_LENGTH": "10000"}, True),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, True),
    ],
)
def test_a_request_is_long_by_its_body(environ: dict[str, Any], long: bool) -> None:
    assert is_long(environ) == long

"""A file is scored by a fleet: in pieces, in order, politely, and from where an earlier run was cut off."""

from __future__ import annotations

import csv
import gzip
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from model_endpoint.models.model import Models
from model_endpoint.packing.cli import main
from model_endpoint.packing.scoring import client
from model_endpoint.packing.scoring.pace import FIRST_ROWS, MOST_ROWS, Pace
from model_endpoint.packing.scoring.records import Records
from unit.model_endpoint.server import Server

Refuse = Callable[["Fleet", int, bytes], tuple[int, dict[str, str], Any] | None]


class Fleet(ThreadingHTTPServer):
    """Doubles the first column, unless `refuse` returns a status, headers and an answer for the request's number."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refuse: Refuse = lambda fleet, number, body: None
        self.requests: list[tuple[str, dict[str, str], int]] = []
        self.version = "1"
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Fleet

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        rows = list(csv.DictReader(io.StringIO(body.decode())))
        self.server.requests.append((self.path, dict(self.headers.items()), len(rows)))
        refusal = self.server.refuse(self.server, len(self.server.requests), body)
        answer = {
            "predictions": [2 * int(row["a"]) for row in rows],
            "model": "double",
            "model_version": self.server.version,
        }
        status, headers, content = refusal or (200, {}, answer)
        text = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.delenv("FLOTILLA_API_KEY", raising=False)
    with Fleet() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have waited."""
    found: list[float] = []
    monkeypatch.setattr("model_endpoint.packing.scoring.client.time.sleep", found.append)
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data.csv", 5000)


def write(path: Path, rows: int) -> Path:
    lines = [f'{at},"text, {at}\nof two lines"' for at in range(rows)]
    path.write_text("\n".join(["a,b", *lines]) + "\n")
    return path


def predictions(path: Path) -> list[str]:
    return path.read_text().splitlines()


def expected(rows: int) -> list[str]:
    return ["prediction", *(str(2 * at) for at in range(rows))]


def score(fleet: Fleet, data: Path, *more: str) -> int:
    return main(["score", fleet.url, str(data), *more])


def test_a_file_is_scored_in_pieces_and_in_order(
    fleet: Fleet, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(fleet, data, "--model", "double") == 0
    output = data.with_name("data.csv.scores.csv")
    assert predictions(output) == expected(5000)
    assert len(fleet.requests) > 2
    assert {path for path, _, _ in fleet.requests} == {"/invocations?model=double"}
    assert sorted(path.name for path in data.parent.iterdir()) == ["data.csv", "data.csv.scores.csv"]
    shown = capsys.readouterr()
    assert shown.out == f"{output}: 5,000 predictions\n"
    assert "100%  5,000 rows" in shown.err


def test_a_compressed_file_is_scored(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    packed = tmp_path / "data.csv.gz"
    packed.write_bytes(gzip.compress(data.read_bytes()))
    assert score(fleet, packed, "--output", str(tmp_path / "out.csv")) == 0
    assert predictions(tmp_path / "out.csv") == expected(5000)


def test_what_has_no_room_is_sent_again_when_the_answer_says(
    fleet: Fleet, data: Path, pauses: list[float]
) -> None:
    answers: dict[int, tuple[int, dict[str, str], Any]] = {
        2: (429, {"Retry-After": "7"}, {}),
        3: (503, {}, {}),
        4: (503, {}, {}),
    }
    fleet.refuse = lambda _, number, body: answers.get(number)
    assert score(fleet, data, "--connections", "1") == 0
    assert predictions(data.with_name("data.csv.scores.csv")) == expected(5000)
    assert pauses == [7, 2, 4]


def test_too_large_pieces_become_smaller(fleet: Fleet, data: Path) -> None:
    fleet.refuse = lambda _, number, body: (413, {}, {"error": "too large"}) if len(body) > 5000 else None
    assert score(fleet, data) == 0
    assert predictions(data.with_name("data.csv.scores.csv")) == expected(5000)
    assert max(rows for _, _, rows in fleet.requests[-10:]) < FIRST_ROWS


def test_a_run_that_was_cut_off_is_gone_on_with(
    fleet: Fleet, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.refuse = lambda _, number, body: (
        (400, {}, {"error": "line 3, a: 'x' is no number"}) if number == 4 else None
    )
    assert score(fleet, data, "--connections", "1") == 1
    first = sum(rows for _, _, rows in fleet.requests[:3])
    at = first + fleet.requests[3][2]
    assert (
        f"error: rows {first + 1} to {at} are refused with 400: line {first + 3}, a: 'x'"
        in capsys.readouterr().err
    )
    part = data.with_name("data.csv.scores.csv.part")
    with part.open("a") as file:
        file.write("what was written after the last progress\n")
    fleet.requests.clear()
    fleet.refuse = lambda _, number, body: None
    assert score(fleet, data) == 0
    assert predictions(data.with_name("data.csv.scores.csv")) == expected(5000)
    assert sum(rows for _, _, rows in fleet.requests) == 5000 - first


def test_a_new_version_of_the_model_ends_the_run(
    fleet: Fleet, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def release(fleet: Fleet, number: int, body: bytes) -> None:
        fleet.version = "1" if number < 3 else "2"

    fleet.refuse = release
    assert score(fleet, data, "--connections", "1") == 1
    assert "version was 1 and is 2 now; start anew with --restart" in capsys.readouterr().err
    assert score(fleet, data, "--restart") == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: data.write_text(data.read_text() + "1,x\n"),
            "it is of .* with .* bytes; give another --output",
        ),
        (
            lambda data: data.with_name(f"{data.name}.scores.csv.part").unlink(),
            "it can't be used; give --restart",
        ),
    ],
)
def test_a_run_that_does_not_fit_is_not_gone_on_with(
    fleet: Fleet, data: Path, change: Callable[[Path], Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.refuse = lambda _, number, body: (400, {}, {"error": "wrong"}) if number > 1 else None
    assert score(fleet, data, "--connections", "1") == 1
    capsys.readouterr()
    change(data)
    assert score(fleet, data) == 1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(capsys.readouterr().err)


def test_the_key_is_sent_and_a_missing_one_is_named(
    fleet: Fleet,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet.refuse = lambda fleet, number, body: (
        None if "X-API-Key" in fleet.requests[-1][1] else (401, {}, {"error": "a valid API key is required"})
    )
    assert score(fleet, data) == 1
    assert (
        "a valid API key is required; give the key as FLOTILLA_API_KEY or --key-file"
        in capsys.readouterr().err
    )
    (tmp_path / "key").write_text("secret\n")
    assert score(fleet, data, "--key-file", str(tmp_path / "key"), "--restart") == 0
    monkeypatch.setenv("FLOTILLA_API_KEY", "secret")
    assert score(fleet, data, "--restart") == 0
    assert fleet.requests[-1][1]["X-API-Key"] == "secret"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models.example", "data.csv"], "URL 'models.example': give it as http://HOST or https://HOST"),
        (["http://models.example", "absent.csv"], "absent.csv"),
        (["http://models.example", "empty.csv"], "the file is empty; give a header and the rows to score"),
        (
            ["http://models.example", "data.csv", "--connections", "0"],
            "--connections is 0; give a whole number",
        ),
    ],
)
def test_what_is_wrong_is_named(
    data: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (data.parent / "empty.csv").write_text("\n")
    arguments[1] = str(data.parent / arguments[1])
    assert main(["score", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_fleet_that_is_gone_is_given_up_after_a_while(
    fleet: Fleet,
    data: Path,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(client, "PATIENCE", -1)
    fleet.refuse = lambda _, number, body: (503, {}, {"error": "no endpoint is free to answer"})
    assert score(fleet, data) == 1
    assert "(no endpoint is free to answer); run the same command again" in capsys.readouterr().err
    assert pauses == []


def test_the_pace_follows_the_answers() -> None:
    pace = Pace(4)
    for _ in range(20):
        pace.answered(pace.rows, 0.01, 0)
    assert (pace.rows, pace.under_way) == (MOST_ROWS, 4)
    pace.answered(pace.rows, 0.25, 2)  # refused twice for lack of room
    assert pace.under_way == 2
    pace.answered(pace.rows, 5.0, 0)  # others use the fleet
    assert (pace.rows, pace.under_way) == (MOST_ROWS // 2, 1)
    pace.too_large(1000, 10)
    assert (pace.rows, pace.most_bytes) == (5, 500)


def test_a_last_line_without_its_end_is_a_record(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text('a,b\n1,2\n\n3,"4')
    records = Records(tmp_path / "data.csv")
    piece = records.take(10, 1000)
    assert piece is not None
    assert piece.records == [b"1,2\n", b'3,"4']
    assert records.take(10, 1000) is None


def test_an_endpoint_answers(served: Path, tmp_path: Path, models: Models) -> None:
    server = Server(served)
    server.wait()
    names = [feature.name for feature in models["iris"].card.features]
    lines = ["5.1,3.5,1.4,0.2", "6.3,2.9,5.6,1.8"] * 10_000
    (tmp_path / "iris.csv").write_text("\n".join([",".join(names), *lines]))
    url = f"http://127.0.0.1:{server.port}"
    assert main(["score", url, str(tmp_path / "iris.csv"), "--model", "iris"]) == 0
    server.stop()
    answers = predictions(tmp_path / "iris.csv.scores.csv")
    assert answers == ["prediction", *["setosa", "virginica"] * 10_000]

"""The server as a container runs it: a process that is asked over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http

from model_endpoint.models.model import Models
from unit.model_endpoint.server import SOURCE, Server, wait_until

pytestmark = pytest.mark.long

SETOSA = b'{"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}'
# The server with a model that takes 0.7 s for two rows, so that requests are in flight when a test stops it.
SLOW = """
import sys, time
from model_endpoint.models import model
from model_endpoint.__main__ import main
predict = model.Model.predict
def slow(self, rows, *options, **named):
    time.sleep(0.7 if len(rows) == 2 else 0)
    return predict(self, rows, *options, **named)
model.Model.predict = slow
sys.exit(main())
"""


@pytest.fixture(scope="module")
def server(served: Path) -> Iterator[Server]:
    server = Server(served, FLOTILLA_LOG_SAMPLE="1")
    server.wait()
    yield server
    server.stop()


def test_tritonclient_gets_its_answers_with_its_defaults(server: Server, models: Models) -> None:
    rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 2.9, 5.6, 1.8]], dtype=np.float32)
    with closing(tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.port}")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("iris", "1")
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        metadata = client.get_model_metadata("iris")
        assert [entry["name"] for entry in client.get_model_repository_index()] == [
            "breast_cancer",
            "iris",
            "penguins",
        ]
        tensor = tritonclient.http.InferInput(metadata["inputs"][0]["name"], rows.shape, "FP32")
        tensor.set_data_from_numpy(rows)
        answer = client.infer("iris", [tensor], request_id="7")
        assert answer.get_response()["id"] == "7"
        assert answer.as_numpy("predict").tolist() == [b"setosa", b"virginica"]
        expected = models["iris"].predict(rows.astype(np.float64))["predict_proba"]
        np.testing.assert_array_equal(answer.as_numpy("predict_proba"), expected)
        wanted = [tritonclient.http.InferRequestedOutput("predict_proba", binary_data=False)]
        answer = client.infer("iris", [tensor], outputs=wanted, model_version="1")
        np.testing.assert_array_equal(answer.as_numpy("predict_proba"), expected)
        with pytest.raises(tritonclient.http.InferenceServerException, match="'rose' is not served here"):
            client.infer("rose", [tensor])


def test_rows_over_the_limit_are_refused(served: Path) -> None:
    with_limit = Server(served, FLOTILLA_ROW_LIMITS='{"iris": 2}')
    with_limit.wait()
    body = json.dumps({"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]] * 3}).encode()
    status, answer = with_limit.ask("POST", "/predict", body)
    with_limit.stop()
    assert (status, answer["error"]) == (
        413,
        "the request has 3 rows, and model 'iris' takes 2; send fewer",
    )
    unknown = Server(served, FLOTILLA_ROW_LIMITS='{"rose": 2}')
    assert (
        "FLOTILLA_ROW_LIMITS names 'rose', which is not served" in unknown.process.communicate(timeout=20)[0]
    )


def test_a_body_over_the_limit_is_refused_before_it_is_read(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n{")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_chunked_body_over_the_limit_is_refused(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(17):
            connection.sendall(chunk)
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_client_that_breaks_off_ends_no_worker(server: Server) -> None:
    before = server.workers()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert server.ask("POST", "/predict", SETOSA)[0] == 200
    assert server.workers() == before


def test_metrics_are_the_same_from_every_worker(server: Server) -> None:
    for _ in range(40):  # a connection each, so both workers have their part
        assert server.ask("POST", "/predict", SETOSA)[0] == 200
    scrapes = [server.ask("GET", "/metrics")[1] for _ in range(6)]
    counts = {
        line for text in scrapes for line in text.splitlines() if line.startswith("flotilla_rows_total")
    }
    assert len(counts) == 4  # one line for each model and for none, the same in all scrapes
    workers = [line for line in scrapes[0].splitlines() if line.startswith("flotilla_process_memory_bytes{")]
    assert len(workers) == 2


def test_a_worker_that_dies_is_replaced(server: Server) -> None:
    victim, survivor = server.workers()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in server.workers() and len(server.workers()) == 2)
    assert survivor in server.workers()
    assert server.ask("POST", "/predict", SETOSA)[0] == 200


def in_flight(server: Server) -> int:
    """The number of requests that the workers are answering, other than the one that asks."""
    lines = server.ask("GET", "/metrics")[1].splitlines()
    counts = [line.rsplit(" ", 1)[1] for line in lines if line.startswith("flotilla_requests_in_flight")]
    return sum(map(int, counts)) - 1


def test_sigterm_finishes_what_is_in_flight_and_logs_it(served: Path) -> None:
    server = Server(served, "-c", SLOW, FLOTILLA_LOG_SAMPLE="1")
    server.wait()
    body = b'{"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2], [6.3, 2.9, 5.6, 1.8]]}'
    answers: list[tuple[int, Any]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.ask("POST", "/predict", body)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: in_flight(server) == 3)
    output = server.stop()
    for thread in threads:
        thread.join()
    assert [(status, answer["predictions"]) for status, answer in answers] == [
        (200, ["setosa", "virginica"])
    ] * 3
    assert server.process.returncode == 0
    assert output.count('"path":"/predict","status":200') == 3


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"FLOTILLA_WORKERS": "many"}, "FLOTILLA_WORKERS is 'many'"),
        ({"FLOTILLA_MODELS": "/nowhere"}, "/nowhere holds no model"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_its_reason(
    served: Path, environ: dict[str, str], message: str
) -> None:
    server = Server(served, **environ)
    output = server.process.communicate(timeout=20)[0]
    assert server.process.returncode == 1
    assert message in output
    assert "Traceback" not in output


def test_a_wrong_golden_answer_keeps_the_endpoint_from_serving(served: Path, tmp_path: Path) -> None:
    folder = tmp_path / "iris"
    folder.mkdir()
    for path in (served / "iris").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    golden = json.loads((folder / "golden.json").read_text())
    golden[0]["outputs"]["predict"] = ["rose"]
    (folder / "golden.json").write_text(json.dumps(golden))
    server = Server(tmp_path)
    output = server.process.communicate(timeout=30)[0]
    assert server.process.returncode == 1
    assert "golden request 0: predict is ['setosa'], expected ['rose']" in output
    assert "Started worker" not in output


def test_the_health_check_fails_where_no_worker_listens(server: Server) -> None:
    command = [sys.executable, "-m", "model_endpoint.runtime.health"]
    for port, status in ((server.port, 0), (1, 1)):
        environ = os.environ | {
            "FLOTILLA_ADDRESS": "127.0.0.1",
            "FLOTILLA_PORT": str(port),
            "PYTHONPATH": str(SOURCE),
        }
        assert subprocess.run(command, env=environ, capture_output=True, check=False).returncode == status

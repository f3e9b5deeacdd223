"""The golden check passes an endpoint that answers right and in time, and says what is wrong with another."""

from __future__ import annotations

import json
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from model_endpoint.runtime import golden_check
from model_endpoint.runtime.settings import Settings
from model_endpoint.runtime.worker_socket import WorkerSocket
from model_endpoint.web.app import create_app
from model_endpoint.web.service import Service

READY = "/v2/health/ready"
IRIS = "/v2/models/iris/infer"
BREAST_CANCER = "/v2/models/breast_cancer/infer"
PLAIN = "/predict"  # where a model whose columns are not all numbers is asked


class Clock:
    """The time that golden_check measures answers by; only a test advances it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Endpoint:
    """A worker that a test can slow down, with the golden requests it will be asked."""

    def __init__(self, app: Flask, models: Path, address: str) -> None:
        self.app = app
        self.models = models
        self.asked: list[str] = []
        self.before: Callable[[str], None] = lambda path: None
        self.socket = WorkerSocket(self._answer, Settings(address=address), 0, "")
        self.socket.open()

    def _answer(self, environ: Any, start_response: Any) -> Any:
        self.asked.append(environ["PATH_INFO"])
        self.before(environ["PATH_INFO"])
        return self.app(environ, start_response)

    def change(self, model: str, change: Callable[[Any], None]) -> None:
        """Change the golden requests that the check reads for a model."""
        path = self.models / model / "golden.json"
        golden = json.loads(path.read_text())
        change(golden)
        path.write_text(json.dumps(golden))


@pytest.fixture
def endpoint(
    service: Service, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Endpoint]:
    # A worker socket's name has the address in it, so every test has a socket of its own.
    address = uuid.uuid4().hex
    endpoint = Endpoint(create_app(service), Path(shutil.copytree(served, tmp_path / "models")), address)
    monkeypatch.setenv("FLOTILLA_ADDRESS", address)
    monkeypatch.setenv("FLOTILLA_MODELS", str(endpoint.models))
    yield endpoint
    endpoint.socket.socket.close()


def test_right_answers_pass_and_every_golden_request_was_asked(
    endpoint: Endpoint, capfd: pytest.CaptureFixture[str]
) -> None:
    assert golden_check.main(["--seconds", "1"]) == 0
    assert capfd.readouterr().err == ""
    times = 3 * (1 + golden_check.TRIES)
    assert endpoint.asked == [READY, *[BREAST_CANCER] * times, *[IRIS] * times, *[PLAIN] * times]


def test_a_wrong_answer_is_refused(endpoint: Endpoint, capfd: pytest.CaptureFixture[str]) -> None:
    def change(golden: Any) -> None:
        golden[1]["outputs"]["predict_proba"][0][1] += 1e-8

    endpoint.change("iris", change)
    assert golden_check.main(["--seconds", "1"]) == 3
    errors = capfd.readouterr().err
    assert errors.startswith("iris: golden request 1: predict_proba is [[")
    assert errors.count("\n") == 1


def test_an_answer_that_is_no_success_is_refused(
    endpoint: Endpoint, capfd: pytest.CaptureFixture[str]
) -> None:
    def change(golden: Any) -> None:
        golden[0]["rows"][0].pop()

    endpoint.change("iris", change)
    assert golden_check.main(["--seconds", "1"]) == 3
    assert capfd.readouterr().err.startswith("iris: golden request 0: answered 400: {")


def test_an_answer_in_another_form_is_refused(endpoint: Endpoint, capfd: pytest.CaptureFixture[str]) -> None:
    def answer(environ: Any, start_response: Any) -> list[bytes]:
        # A server that answers before it has read the request may close the connection too soon.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("200 OK", [])
        return [b"{}"]

    endpoint.app.wsgi_app = answer  # type: ignore[method-assign]
    assert golden_check.main(["--seconds", "1"]) == 3
    errors = capfd.readouterr().err
    assert errors == (
        "breast_cancer: golden request 0: the answer is not an inference response: KeyError('outputs')\n"
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(golden_check, "perf_counter", clock)
    return clock


def test_answers_that_are_mostly_slow_are_refused(
    endpoint: Endpoint, clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    def before(path: str) -> None:
        if path == IRIS and len(endpoint.asked) % 3:
            clock.now += 0.25

    endpoint.before = before
    assert golden_check.main(["--seconds", "0.2"]) == 3
    errors = capfd.readouterr().err
    assert errors.startswith("iris: golden request 0: took 0.25")
    assert errors.endswith(" s, 0.20 s are allowed\n")


def test_the_first_answer_and_few_of_the_others_may_be_slow(endpoint: Endpoint, clock: Clock) -> None:
    first = 2 + 3 * (1 + golden_check.TRIES)  # of iris

    def before(path: str) -> None:
        if len(endpoint.asked) in (first, first + 1, first + 2):
            clock.now += 0.25

    endpoint.before = before
    assert golden_check.main(["--seconds", "0.2"]) == 0


def test_no_answer_at_all_is_refused(
    endpoint: Endpoint, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden_check, "EXTRA_SECONDS", 0.1)
    given_up = threading.Event()

    def before(path: str) -> None:
        if path == IRIS:
            given_up.wait(10)

    endpoint.before = before
    try:
        assert golden_check.main(["--seconds", "0.4"]) == 3
    finally:
        given_up.set()
    assert capfd.readouterr().err == "iris: golden request 0: no answer in 0.50 s, 0.40 s are allowed\n"


def test_an_endpoint_that_is_not_ready_may_be_asked_again(
    endpoint: Endpoint, capfd: pytest.CaptureFixture[str]
) -> None:
    endpoint.app.view_functions["ready"] = lambda: ("", 503)
    assert golden_check.main(["--seconds", "1"]) == 1
    assert capfd.readouterr().err == "not ready: /v2/health/ready answers 503\n"
    assert endpoint.asked == [READY]


@pytest.mark.parametrize(("port", "workers", "answering"), [("1", "1", 0), (None, "2", 1)])
def test_until_all_workers_answer_it_may_be_asked_again(
    endpoint: Endpoint,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    port: str | None,
    workers: str,
    answering: int,
) -> None:
    monkeypatch.setattr(golden_check, "START_SECONDS", 0.2)
    monkeypatch.setenv("FLOTILLA_WORKERS", workers)
    if port:
        monkeypatch.setenv("FLOTILLA_PORT", port)
    assert golden_check.main(["--seconds", "1"]) == 1
    assert capfd.readouterr().err == f"not ready: {answering} of {workers} workers answer\n"


def test_a_worker_with_older_certificates_may_be_asked_again(
    endpoint: Endpoint, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "server.pem").write_text("newer")
    (tmp_path / "clients.crt").write_text("newer")
    monkeypatch.setenv("FLOTILLA_TLS", str(tmp_path))
    assert golden_check.main(["--seconds", "1"]) == 1
    assert capfd.readouterr().err == "not ready: a worker still serves with the previous certificates\n"


@pytest.mark.parametrize("content", [None, "{"])
def test_without_golden_requests_nothing_passes(
    content: str | None, endpoint: Endpoint, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in endpoint.models.glob("*/*.json"):
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
    assert golden_check.main(["--seconds", "1"]) == 1
    assert str(endpoint.models) in capfd.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_bound_must_be_a_number_above_zero(seconds: str) -> None:
    with pytest.raises(SystemExit) as ended:
        golden_check.main([f"--seconds={seconds}"])
    assert ended.value.code == 2

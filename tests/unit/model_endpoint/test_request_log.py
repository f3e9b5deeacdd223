"""Request lines, shadowed requests with their answers, and captured payloads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_endpoint.runtime import request_log
from model_endpoint.runtime.request_context import RequestContext
from model_endpoint.runtime.request_log import RequestLog
from model_endpoint.runtime.settings import Settings
from model_endpoint.web.app import create_app
from model_endpoint.web.service import Service


def lines_of_requests(
    settings: Settings, capfd: pytest.CaptureFixture[str], *statuses: int
) -> list[dict[str, Any]]:
    log = RequestLog(settings)
    log.start()
    for number, status in enumerate(statuses):
        context = RequestContext(
            "POST", "/predict", f"id-{number}", "iris", rows=1, body=b"{}", status=status
        )
        log.record(context, 0.25, b"answer")
    log.stop()
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_failures_are_always_logged_and_successes_sampled(capfd: pytest.CaptureFixture[str]) -> None:
    lines = lines_of_requests(
        Settings(endpoint="node-a", release="r1", log_sample=0.1), capfd, *[200] * 100, 400, 500
    )
    assert [line["status"] for line in lines].count(200) == 10
    assert [line["status"] for line in lines][-2:] == [400, 500]
    assert lines[-1] | {"time": 0} == {
        "time": 0,
        "endpoint": "node-a",
        "release": "r1",
        "request_id": "id-101",
        "method": "POST",
        "path": "/predict",
        "status": 500,
        "milliseconds": 250.0,
        "model": "iris",
        "rows": 1,
    }


def test_captured_payloads_stay_within_their_bound(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = Settings(
        capture_file=tmp_path / "payloads", capture_sample=1, capture_bytes=2000, log_sample=0
    )
    assert lines_of_requests(settings, capfd, *[200] * 100) == []
    newest, oldest = tmp_path / "payloads.0", tmp_path / "payloads.0.1"
    assert sorted(tmp_path.iterdir()) == [newest, oldest]
    assert 0 < newest.stat().st_size <= 2000
    assert 1000 < oldest.stat().st_size <= 2000
    last = json.loads(newest.read_text().splitlines()[-1])
    assert (last["request_id"], last["request"], last["answer"]) == ("id-99", "{}", "answer")
    # A worker that takes over from one that died keeps what was captured last, and adds no third file.
    lines_of_requests(settings, capfd, 200)
    assert sorted(tmp_path.iterdir()) == [newest, oldest]
    assert json.loads(oldest.read_text().splitlines()[-1]) == last


SETOSA = {"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}


def lines_of(log: RequestLog, capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    log.stop()
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


@pytest.fixture
def log(service: Service) -> RequestLog:
    """A log that has no successful request, unless it is shadowed."""
    log = RequestLog(service.settings)
    log.start()
    return log


@pytest.mark.parametrize("fast_path", [True, False])
def test_fast_path_and_flask_log_a_shadowed_request_once(
    fast_path: bool, service: Service, log: RequestLog, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = replace(service.settings, fast_path=fast_path)
    client = create_app(replace(service, settings=settings, request_log=log)).test_client()
    shadowed = {"X-Shadow": "1", "X-Request-Id": "right"}
    answer = client.post("/predict", json=SETOSA, headers=shadowed)
    refused = client.post("/predict", json={}, headers=shadowed | {"X-Request-Id": "wrong"})
    client.post("/predict", json=SETOSA)
    client.post("/predict", json=SETOSA, headers={"X-Shadow": "0"})
    client.post("/predict", json=SETOSA, headers={"X-Shadow": ""})

    right, wrong = lines_of(log, capfd)
    assert right | {"time": 0, "milliseconds": 0} == {
        "time": 0,
        "endpoint": "node-a",
        "release": "r1",
        "request_id": "right",
        "method": "POST",
        "path": "/predict",
        "status": 200,
        "milliseconds": 0,
        "model": "iris",
        "rows": 1,
        "shadow": True,
        "answer": answer.text,
    }
    assert (wrong["request_id"], wrong["status"], wrong["answer"]) == ("wrong", 400, refused.text)


def test_other_lines_have_no_answer(log: RequestLog, capfd: pytest.CaptureFixture[str]) -> None:
    log.record(RequestContext("POST", "/predict", "id", "iris", status=500), 0.1, b"{}")
    (line,) = lines_of(log, capfd)
    assert not {"shadow", "answer"} & line.keys()


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("é".encode() * 32768, "é" * 32768),
        (b"x" * 65537, None),
        (b'{"outputs":[]}\xff\xfe', None),
    ],
)
def test_a_large_or_binary_answer_is_not_kept(
    answer: bytes, kept: str | None, log: RequestLog, capfd: pytest.CaptureFixture[str]
) -> None:
    log.record(RequestContext("POST", "/predict", "id", "iris", status=200), 0.1, answer, shadow=True)
    (line,) = lines_of(log, capfd)
    assert line["answer"] == kept


def test_a_log_that_nothing_reads_holds_fewer_answers_than_lines(
    service: Service, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "MAX_SHADOW_BACKLOG", 5)
    log = RequestLog(service.settings)
    for number in range(20):
        log.record(
            RequestContext("POST", "/predict", f"id-{number}", "iris", status=500), 0.1, b"{}", shadow=True
        )
    log.record(RequestContext("POST", "/predict", "last", "iris", status=500), 0.1, b"{}")
    log.start()
    lines = lines_of(log, capfd)
    assert [line["request_id"] for line in lines] == ["id-0", "id-1", "id-2", "id-3", "id-4", "last"]

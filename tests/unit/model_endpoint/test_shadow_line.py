"""A request that a second release is asked as well is logged with its answer, whatever the samples say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from model_endpoint import record
from model_endpoint.app import create_app
from model_endpoint.record import Recorder
from model_endpoint.service import Exchange, Service

SETOSA = {"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}


def lines_of(recorder: Recorder, capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    recorder.stop()
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


@pytest.fixture
def recorder(service: Service) -> Recorder:
    """A recorder that logs no successful request by itself."""
    recorder = Recorder(service.settings)
    recorder.start()
    return recorder


@pytest.mark.parametrize("fast_lane", [True, False])
def test_both_lanes_log_a_shadowed_request_once(
    fast_lane: bool, service: Service, recorder: Recorder, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = replace(service.settings, fast_lane=fast_lane)
    client = create_app(replace(service, settings=settings, recorder=recorder)).test_client()
    shadowed = {"X-Shadow": "1", "X-Request-Id": "right"}
    answer = client.post("/predict", json=SETOSA, headers=shadowed)
    refused = client.post("/predict", json={}, headers=shadowed | {"X-Request-Id": "wrong"})
    client.post("/predict", json=SETOSA)
    client.post("/predict", json=SETOSA, headers={"X-Shadow": "0"})
    client.post("/predict", json=SETOSA, headers={"X-Shadow": ""})

    right, wrong = lines_of(recorder, capfd)
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


def test_other_lines_have_no_answer(recorder: Recorder, capfd: pytest.CaptureFixture[str]) -> None:
    recorder.record(Exchange("POST", "/predict", "id", "iris", status=500), 0.1, b"{}")
    (line,) = lines_of(recorder, capfd)
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
    answer: bytes, kept: str | None, recorder: Recorder, capfd: pytest.CaptureFixture[str]
) -> None:
    recorder.record(Exchange("POST", "/predict", "id", "iris", status=200), 0.1, answer, shadow=True)
    (line,) = lines_of(recorder, capfd)
    assert line["answer"] == kept


def test_a_stuck_log_holds_fewer_answers_than_lines(
    service: Service, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "SHADOW_BACKLOG", 5)
    recorder = Recorder(service.settings)
    for number in range(20):
        recorder.record(
            Exchange("POST", "/predict", f"id-{number}", "iris", status=500), 0.1, b"{}", shadow=True
        )
    recorder.record(Exchange("POST", "/predict", "last", "iris", status=500), 0.1, b"{}")
    recorder.start()
    lines = lines_of(recorder, capfd)
    assert [line["request_id"] for line in lines] == ["id-0", "id-1", "id-2", "id-3", "id-4", "last"]

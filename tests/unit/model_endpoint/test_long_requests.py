"""Long requests wait for each other, and short ones for none of them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_endpoint.models.model import Models
from model_endpoint.runtime.metrics import Metrics
from model_endpoint.runtime.request_log import RequestLog
from model_endpoint.runtime.settings import Settings
from model_endpoint.web.app import create_app
from model_endpoint.web.long_requests import WAITING, LongRequests, is_long
from model_endpoint.web.service import Service
from unit.model_endpoint.server import Server

SHORT = b'{"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}'
LONG = json.dumps({"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]] * 2000}).encode()
# The server with a model that takes 1.5 s for many rows.
SLOW = """
import sys, time
from model_endpoint.models import model
from model_endpoint.__main__ import main
predict = model.Model.predict
def slow(self, rows, *options, **named):
    time.sleep(1.5 if len(rows) > 1000 else 0)
    return predict(self, rows, *options, **named)
model.Model.predict = slow
sys.exit(main())
"""


@pytest.fixture
def slow(served: Path) -> Iterator[Server]:
    server = Server(served, "-c", SLOW, FLOTILLA_THREADS="1")
    server.wait()
    yield server
    server.stop()


def test_short_requests_do_not_wait_for_long_ones(slow: Server) -> None:
    def send() -> None:
        statuses.append(slow.ask("POST", "/predict", LONG)[0])

    statuses: list[int] = []
    threads = [threading.Thread(target=send) for _ in range(4)]  # at least two for one of the two workers
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    begun = time.monotonic()
    assert [slow.ask("POST", "/predict", SHORT)[0] for _ in range(20)] == [200] * 20
    assert time.monotonic() - begun < 1
    assert statuses == []
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4


def test_more_long_requests_than_may_wait_are_refused(models: Models) -> None:
    settings = Settings(log_sample=0)
    service = Service(settings, models, Metrics(models, settings.max_workers), RequestLog(settings))
    client = create_app(service).test_client()
    assert client.post("/predict", data=LONG).status_code == 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LongRequests, "begin", lambda _: False)
        refused = client.post("/predict", data=LONG)
        assert client.post("/predict", data=SHORT).status_code == 200
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert "has as many large requests as it may" in refused.get_json()["error"]
    assert service.metrics.totals()[""].statuses["429"] == 1


def test_turns_are_given_one_after_another() -> None:
    long_requests = LongRequests(1)
    begun: list[int] = []

    def take() -> None:
        assert long_requests.begin()
        begun.append(len(begun))
        long_requests.end()

    assert long_requests.begin()
    threads = [threading.Thread(target=take) for _ in range(WAITING)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 5
    while long_requests._places._value:
        assert time.monotonic() < deadline
    assert not long_requests.begin()
    assert begun == []
    long_requests.end()
    for thread in threads:
        thread.join()
    assert len(begun) == WAITING
    assert long_requests.begin()


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

"""What the Flask views and the fast lane share: who answers, what is counted, and what is recorded."""

from __future__ import annotations

import os
import re
from itertools import count
from time import perf_counter

from model_endpoint.metrics import Metrics
from model_endpoint.model import Models
from model_endpoint.record import Recorder
from model_endpoint.settings import Settings

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
FAILURE = "the endpoint failed; its log says why, under the X-Request-Id of this answer"


class Service:
    """The models of one worker with everything that happens around a request."""

    def __init__(self, settings: Settings, models: Models, metrics: Metrics, recorder: Recorder) -> None:
        self.settings = settings
        self.models = models
        self.metrics = metrics
        self.recorder = recorder
        self._prefix = os.urandom(8).hex()
        self._numbers = count(1)

    def request_id(self, given: str | None) -> str:
        """The client's own id, unless it has none or one that could forge a log line or a header."""
        if given and REQUEST_ID.fullmatch(given):
            return given
        return f"{self._prefix}-{next(self._numbers):x}"

    def headers(self, request_id: str) -> list[tuple[str, str]]:
        """Who answers, on every answer."""
        settings = self.settings
        return [
            ("X-Release", settings.release),
            ("X-Endpoint", settings.endpoint),
            ("X-Request-Id", request_id),
        ]

    def done(
        self,
        method: str,
        path: str,
        status: int,
        start: float,
        request_id: str,
        begun: str,
        model: str,
        rows: int,
        body: bytes,
        answer: bytes,
    ) -> None:
        """Count and record an answered request; `start` is its perf_counter, `begun` what it was begun as."""
        seconds = perf_counter() - start
        self.metrics.end(begun, model, status, seconds, rows)
        self.recorder.request(method, path, status, seconds, request_id, model, rows)
        if rows:
            self.recorder.payload(path, request_id, body, answer)

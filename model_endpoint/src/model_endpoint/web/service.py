"""What the routes of one worker share. Runs in a worker."""

from __future__ import annotations

from dataclasses import dataclass

from model_endpoint.drift.counts import ValueCounts
from model_endpoint.models.model import Models
from model_endpoint.runtime.metrics import Metrics
from model_endpoint.runtime.request_log import RequestLog
from model_endpoint.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """The settings, models, counters and log that a worker serves with."""

    settings: Settings
    models: Models
    metrics: Metrics
    request_log: RequestLog
    value_counts: ValueCounts

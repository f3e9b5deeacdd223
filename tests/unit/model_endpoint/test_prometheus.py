"""The metrics as a scrape sees them."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from model_endpoint.models.model import Models
from model_endpoint.runtime.metrics import Metrics
from model_endpoint.runtime.prometheus import PrometheusText


def value(text: str, metric: str, **labels: str) -> float:
    """The sum of a metric's samples that carry these labels."""
    found = [line for line in text.splitlines() if re.match(rf"{metric}[{{ ]", line)]
    chosen = [line for line in found if all(f'{name}="{label}"' in line for name, label in labels.items())]
    return sum(float(line.rsplit(" ", 1)[1]) for line in chosen)


def test_each_request_is_counted_by_model_status_and_rows(client: FlaskClient) -> None:
    before = client.get("/metrics").text
    client.post("/predict", json={"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]] * 3})
    client.post("/v2/models/iris/infer", json={})
    client.get("/nowhere")
    after = client.get("/metrics").text
    expected: list[tuple[float, str, dict[str, str]]] = [
        (1, "flotilla_requests_total", {"model": "iris", "status": "200"}),
        (1, "flotilla_requests_total", {"model": "iris", "status": "400"}),
        (1, "flotilla_errors_total", {"model": "iris", "kind": "bad_input"}),
        (1, "flotilla_requests_total", {"model": "", "status": "404"}),
        (3, "flotilla_rows_total", {"model": "iris"}),
        (1, "flotilla_request_rows_bucket", {"model": "iris", "le": "5"}),
    ]
    for difference, metric, labels in expected:
        assert value(after, metric, **labels) - value(before, metric, **labels) == difference, metric


def test_every_metric_line_is_in_prometheus_form(client: FlaskClient) -> None:
    for line in client.get("/metrics").text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"]*",?)*\})? [-+.e\d]+', line), line


def test_the_text_has_the_totals_under_the_model_its_version_and_the_release(models: Models) -> None:
    metrics = Metrics(models, max_workers=4)
    for _ in range(1000):
        metrics.begin("iris")
        metrics.end("iris", "iris", 200, 0.0003, 2)
    text = PrometheusText(metrics, models, "r1").render()
    assert value(text, "flotilla_requests_total", model="iris", status="200", release="r1") == 1000
    assert value(text, "flotilla_rows_total", model="iris", version="1") == 2000
    assert value(text, "flotilla_request_seconds_count", model="iris") == 1000
    assert value(text, "flotilla_request_seconds_bucket", model="iris", le="0.00025") == 0
    assert value(text, "flotilla_request_seconds_bucket", model="iris", le="0.0005") == 1000
    assert value(text, "flotilla_request_seconds_bucket", model="iris", le="+Inf") == 1000
    assert value(text, "flotilla_request_seconds_sum", model="iris") == pytest.approx(0.3)
    assert value(text, "flotilla_requests_in_flight", model="iris") == 0


def test_a_release_can_not_break_out_of_its_label(models: Models) -> None:
    text = PrometheusText(Metrics(models, max_workers=1), models, 'r"\\\n').render()
    assert 'release="r\\"\\\\\\n"}' in text

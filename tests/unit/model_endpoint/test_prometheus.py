"""The metrics as a scrape sees them."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from model_endpoint.drift.bins import NumberBins
from model_endpoint.drift.counts import ValueCounts
from model_endpoint.drift.distribution import Spread
from model_endpoint.drift.report import report
from model_endpoint.models.model import Models
from model_endpoint.runtime import prometheus_values
from model_endpoint.runtime.metrics import Metrics
from model_endpoint.runtime.prometheus import PrometheusText
from model_endpoint.runtime.request_log import RequestLog
from model_endpoint.runtime.settings import Settings
from model_endpoint.web.app import create_app
from model_endpoint.web.service import Service
from unit.model_endpoint.drifting import model_counts


def value(text: str, metric: str, **labels: str) -> float:
    """The sum of a metric's samples that carry these labels."""
    found = [line for line in text.splitlines() if re.match(rf"{metric}[{{ ]", line)]
    chosen = [line for line in found if all(f'{name}="{label}"' in line for name, label in labels.items())]
    return sum(float(line.rsplit(" ", 1)[1]) for line in chosen)


def rendered(metrics: Metrics, models: Models, release: str) -> str:
    return PrometheusText(metrics, ValueCounts({}), models, Settings(release=release)).render()


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
    text = rendered(metrics, models, "r1")
    assert value(text, "flotilla_requests_total", model="iris", status="200", release="r1") == 1000
    assert value(text, "flotilla_rows_total", model="iris", version="1") == 2000
    assert value(text, "flotilla_request_seconds_count", model="iris") == 1000
    assert value(text, "flotilla_request_seconds_bucket", model="iris", le="0.00025") == 0
    assert value(text, "flotilla_request_seconds_bucket", model="iris", le="0.0005") == 1000
    assert value(text, "flotilla_request_seconds_bucket", model="iris", le="+Inf") == 1000
    assert value(text, "flotilla_request_seconds_sum", model="iris") == pytest.approx(0.3)
    assert value(text, "flotilla_requests_in_flight", model="iris") == 0


def test_a_release_can_not_break_out_of_its_label(models: Models) -> None:
    text = rendered(Metrics(models, max_workers=1), models, 'r"\\\n')
    assert 'release="r\\"\\\\\\n"}' in text


def test_what_serves_is_told(client: FlaskClient) -> None:
    text = client.get("/metrics").text
    assert value(text, "flotilla_endpoint_info", endpoint="node-a", release="r1") == 1
    assert value(text, "flotilla_model_info", model="iris", version="1", predictor="numpy linear") == 1
    assert value(text, "flotilla_model_info") == 3
    assert 0 <= time.time() - value(text, "flotilla_start_time_seconds") < 3600


def test_values_and_predictions_are_counted_on_both_paths(client: FlaskClient, service: Service) -> None:
    def scrape() -> str:
        service.value_counts.models["iris"].flush()
        return client.get("/metrics").text

    before = scrape()
    setosa, strange = [5.1, 3.5, 1.4, 0.2], [5.1, 3.5, -7.0, 99.0]
    client.post("/predict", json={"model": "iris", "instances": [setosa, setosa]})
    tensor = {"name": "input", "shape": [1, 4], "datatype": "FP64", "data": strange}
    client.post("/v2/models/iris/infer", json={"inputs": [tensor]})
    client.post("/invocations?model=iris", json={"inputs": [setosa]})
    client.post("/predict", json={"model": "iris", "instances": [["wrong"]]})
    after = scrape()
    expected: list[tuple[float, str, dict[str, str]]] = [
        (4, "flotilla_column_values_total", {"column": "sepal_length"}),
        (4, "flotilla_column_values_total", {"column": "sepal_length", "bin": "<=5.2"}),
        (1, "flotilla_column_values_total", {"column": "petal_length", "bin": "(below)"}),
        (1, "flotilla_column_values_total", {"column": "petal_width", "bin": "(above)"}),
        (4, "flotilla_predictions_total", {"output": "predict"}),
        (4, "flotilla_drift_window_rows", {}),
    ]
    for difference, metric, labels in expected:
        found = value(after, metric, model="iris", **labels) - value(before, metric, model="iris", **labels)
        assert found == difference, (metric, labels)


def test_drift_is_scored_and_told_in_words(models: Models, served: Path) -> None:
    counts = ValueCounts.of({"iris": models["iris"]}, served, 1)
    app = create_app(
        Service(Settings(log_sample=0), models, Metrics(models, 1), RequestLog(Settings()), counts)
    )
    client = app.test_client()
    assert client.get("/metrics/drift").get_json()["iris"]["window"] is None
    assert value(client.get("/metrics").text, "flotilla_column_drift_score") == 0
    rows = [[9.9, 3.0, 4.3, 1.3] if at % 2 else [4.5, 3.0, 4.3, 1.3] for at in range(2000)]
    client.post("/predict", json={"model": "iris", "instances": rows})
    counts.models["iris"].flush()
    text = client.get("/metrics").text
    score = value(text, "flotilla_column_drift_score", model="iris", column="sepal_length")
    assert score > value(text, "flotilla_column_drift_bound", model="iris", column="sepal_length") > 0
    found = client.get("/metrics/drift").get_json()["iris"]
    assert found["window"]["rows"] == 2000
    first = found["columns"][0]
    assert (first["training"]["name"], first["drift"]) == ("sepal_length", True)
    assert first["moved"] == "50 % above 7.9, the highest of training, 0 % in training"
    assert sum(first["window"]) == sum(first["total"]) == 2000
    assert len(first["bins"]) == len(first["window"]) == len(first["training"]["counts"])


def test_a_histogram_of_predicted_values_has_training_s_deciles() -> None:
    spread = Spread("predict", NumberBins(0.0, [1.0, 2.0]), [0, 50, 50, 0, 0])
    counts = model_counts(np.random.default_rng(0).normal(size=(100, 1)), [spread])
    counts.count(np.zeros((4, 1)), np.array([-3.0, 0.5, 1.5, 7.0]))
    counts.flush()
    text = "\n".join(prometheus_values.lines({"drawn": 'model="drawn"'}, {"drawn": report(counts)}))
    buckets = [value(text, "flotilla_predicted_value_bucket", le=bound) for bound in ("1.0", "2.0", "+Inf")]
    assert buckets == [2, 3, 4]
    assert value(text, "flotilla_predicted_value_sum") == 6
    assert value(text, "flotilla_predicted_value_count") == 4

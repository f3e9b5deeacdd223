"""Metrics, logs, captured payloads, and the shared calls of models that do not compile."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from model_endpoint import bundle, image, model, scikit
from model_endpoint.metrics import Metrics
from model_endpoint.model import Models
from model_endpoint.record import Recorder
from model_endpoint.scikit import SharedCalls
from model_endpoint.service import Exchange
from model_endpoint.settings import Settings


def value(text: str, metric: str, **labels: str) -> float:
    """The sum of a metric's samples that carry these labels."""
    found = [line for line in text.splitlines() if re.match(rf"{metric}[{{ ]", line)]
    chosen = [line for line in found if all(f'{name}="{label}"' in line for name, label in labels.items())]
    return sum(float(line.rsplit(" ", 1)[1]) for line in chosen)


def test_metrics_add_up_over_workers_and_survive_one_that_dies(models: Models) -> None:
    metrics = Metrics(models, "r1", slots=4)
    context = multiprocessing.get_context("fork")

    def work(requests: int, die: bool) -> None:
        metrics.claim()
        for _ in range(requests):
            metrics.begin("iris")
            metrics.end("iris", "iris", 200, 0.0003, 2)
        if die:
            metrics.begin("iris")
        os._exit(0)

    for requests, die in ((500, True), (300, False), (200, False)):
        process = context.Process(target=work, args=(requests, die))
        process.start()
        process.join(10)
    text = metrics.render()
    assert value(text, "flotilla_requests_total", model="iris", status="200", release="r1") == 1000
    assert value(text, "flotilla_rows_total", model="iris", version="1") == 2000
    assert value(text, "flotilla_request_seconds_count", model="iris") == 1000
    assert value(text, "flotilla_request_seconds_bucket", model="iris", le="0.00025") == 0
    assert value(text, "flotilla_request_seconds_bucket", model="iris", le="0.0005") == 1000
    assert value(text, "flotilla_request_seconds_sum", model="iris") == pytest.approx(0.3)
    assert value(text, "flotilla_requests_in_flight", model="iris") == 0


def test_metrics_of_requests(client: FlaskClient) -> None:
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


def recorded(settings: Settings, capfd: pytest.CaptureFixture[str], *statuses: int) -> list[dict[str, Any]]:
    recorder = Recorder(settings)
    recorder.start()
    for number, status in enumerate(statuses):
        exchange = Exchange("POST", "/predict", f"id-{number}", "iris", rows=1, body=b"{}", status=status)
        recorder.record(exchange, 0.25, b"answer")
    recorder.stop()
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_failures_are_always_logged_and_successes_sampled(capfd: pytest.CaptureFixture[str]) -> None:
    lines = recorded(Settings(endpoint="node-a", release="r1", log_sample=0.1), capfd, *[200] * 100, 400, 500)
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
    assert recorded(settings, capfd, *[200] * 100) == []
    newest, oldest = tmp_path / "payloads.0", tmp_path / "payloads.0.1"
    assert sorted(tmp_path.iterdir()) == [newest, oldest]
    assert 0 < newest.stat().st_size <= 2000
    assert 1000 < oldest.stat().st_size <= 2000
    last = json.loads(newest.read_text().splitlines()[-1])
    assert (last["request_id"], last["request"], last["answer"]) == ("id-99", "{}", "answer")
    # A worker that takes over from one that died keeps what was captured last, and adds no third file.
    recorded(settings, capfd, 200)
    assert sorted(tmp_path.iterdir()) == [newest, oldest]
    assert json.loads(oldest.read_text().splitlines()[-1]) == last


class Slow:
    """Doubles its rows, counts its calls, refuses negative ones, and takes its time."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, rows: Any, probabilities: bool = True) -> Any:
        self.calls.append(len(rows))
        time.sleep(0.05)
        if (rows < 0).any():
            raise ValueError("negative")
        return {"predict": rows[:, 0] * 2}


def together(shared: SharedCalls, many: list[Any]) -> list[Any]:
    answers: list[Any] = [None] * len(many)

    def ask(index: int) -> None:
        try:
            answers[index] = shared(many[index])["predict"].tolist()
        except ValueError as error:
            answers[index] = str(error)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(many))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_requests_that_wait_share_one_call() -> None:
    slow, counted = Slow(), list[int]()
    answers = together(
        SharedCalls(slow, counted.append), [np.full((2, 1), float(index)) for index in range(10)]
    )
    assert answers == [[2.0 * index] * 2 for index in range(10)]
    assert len(slow.calls) <= 3
    assert sum(counted) == 20


def test_a_refused_request_fails_alone() -> None:
    answers = together(
        SharedCalls(Slow(), lambda rows: None), [np.full((1, 1), value) for value in (1.0, -1.0, 2.0)]
    )
    assert answers == [[2.0], "negative", [4.0]]


def test_a_shared_call_is_bounded() -> None:
    slow = Slow()
    together(SharedCalls(slow, lambda rows: None, most_rows=4), [np.ones((2, 1)) for _ in range(8)])
    assert max(slow.calls) <= 4
    assert sum(slow.calls) == 16


@pytest.fixture(scope="module")
def vote() -> Any:
    iris = load_iris()
    parts = [
        ("forest", RandomForestClassifier(n_estimators=3)),
        ("near", make_pipeline(KNeighborsClassifier())),
    ]
    return VotingClassifier(parts).fit(iris.data, iris.target)


def test_what_does_not_compile_is_served_by_scikit_learn(vote: Any, tmp_path: Path) -> None:
    types = ["sklearn.tree._tree.Tree", "sklearn.metrics._dist_metrics.EuclideanDistance64"]
    types += ["sklearn.neighbors._kd_tree.KDTree", "sklearn.utils._bunch.Bunch"]
    data = load_iris().data
    bundle.pack(vote, data, tmp_path / "in" / "vote", name="vote", version="1", allowed_types=types)
    assert not image.build(tmp_path / "in", tmp_path / "out")
    served = model.load(tmp_path / "out")["vote"]
    assert served.served_by == {
        "kind": "scikit-learn",
        "not_compiled": "there is no rule for VotingClassifier",
    }
    served.verify()
    assert served.predict(data)["predict"].tolist() == vote.predict(data).tolist()


def test_every_part_of_an_estimator_is_held_to_one_job(vote: Any) -> None:
    parts = [vote, *vote.estimators_, vote.estimators_[1][-1]]
    parallel = [part for part in parts if hasattr(part, "n_jobs")]
    for part in parallel:
        part.n_jobs = 2
    scikit.force_one_job(vote)
    assert [part.n_jobs for part in parallel] == [1, 1, 1]


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 99),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 99),
        ({}, 99),
    ],
)
def test_the_cpu_share_is_the_containers(
    files: dict[str, str], share: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(99)))
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert scikit.cpu_share(tmp_path) == share

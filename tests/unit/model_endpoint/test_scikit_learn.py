"""Models that scikit-learn itself serves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from model_endpoint.models import model, scikit_learn
from model_endpoint.packing import bundle, image


@pytest.fixture(scope="module")
def vote() -> Any:
    iris = load_iris()
    parts = [
        ("forest", RandomForestClassifier(n_estimators=3)),
        ("near", make_pipeline(KNeighborsClassifier(p=1))),
    ]
    return VotingClassifier(parts).fit(iris.data, iris.target)


def test_what_does_not_compile_is_served_by_scikit_learn(vote: Any, tmp_path: Path) -> None:
    data = load_iris().data
    bundle.pack(vote, data, tmp_path / "in" / "vote", name="vote", version="1")
    assert image.build(tmp_path / "in", tmp_path / "out")
    served = model.load(tmp_path / "out")["vote"]
    assert served.served_by == {
        "kind": "scikit-learn",
        "not_compiled": "there is no rule for neighbours by manhattan and kd_tree",
    }
    served.verify()
    assert served.predict(data)["predict"].tolist() == vote.predict(data).tolist()


def test_every_part_of_an_estimator_is_held_to_one_job(vote: Any) -> None:
    parts = [vote, *vote.estimators_, vote.estimators_[1][-1]]
    parallel = [part for part in parts if hasattr(part, "n_jobs")]
    for part in parallel:
        part.n_jobs = 2
    scikit_learn.force_one_job(vote)
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
    assert scikit_learn.cpu_share(tmp_path) == share


def test_a_system_without_affinity_has_all_its_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert scikit_learn.cpu_share(tmp_path) == 7

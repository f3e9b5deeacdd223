"""The inventory's models change from release to release: one of mixed columns, one of texts, one of XGBoost.

The tests are one story: each starts from what the one before left. A model that stays loses no request meanwhile.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from fleet.fleet import Fleet
from fleet.load import IRIS, Question, under_load
from fleet.playbook import PROJECT


def asked(elsewhere: Path, model: str) -> dict[str, Any]:
    """Return what train.py wrote for a client of the model, with the estimator's own answers."""
    content: dict[str, Any] = json.loads((elsewhere / "training" / f"{model}.json").read_text())
    return content


def question(elsewhere: Path, model: str) -> Question:
    """Return what the load asks of a model."""
    wanted = asked(elsewhere, model)
    return Question({"model": model, "instances": wanted["instances"]}, wanted["predictions"])


def assert_answers(fleet: Fleet, elsewhere: Path, model: str) -> dict[str, Any]:
    """Check that the fleet answers for a model as its estimator does, and return the answer."""
    wanted = asked(elsewhere, model)
    body = {"model": model, "instances": wanted["instances"], "outputs": ["predict_proba"]}
    answer = requests.post(f"{fleet.url}/predict", json=body, timeout=10)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert told["predictions"] == wanted["predictions"]
    for got, right in zip(told["outputs"]["predict_proba"], wanted["probabilities"], strict=True):
        # XGBoost answers in float32.
        assert got == pytest.approx(right, rel=1e-6, abs=1e-9)
    return told


def release(elsewhere: Path, comes: str, goes: str | None = None) -> None:
    """Change the models beside the inventory, and run the collection's site.yml."""
    models = elsewhere / "inventory" / "models"
    shutil.copytree(elsewhere / "packed" / comes, models / comes)
    if goes:
        shutil.rmtree(models / goes)
    script = Path(__file__).with_name("elsewhere.sh")
    run = subprocess.run(
        [script, PROJECT, elsewhere, "flotilla.fleet.site"], check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert run.stdout.splitlines()[-1].startswith("flotilla: released: "), run.stdout[-2000:]


def test_a_model_of_mixed_columns_answers_with_gaps_and_a_value_that_it_does_not_know(
    fleet: Fleet, elsewhere: Path
) -> None:
    told = assert_answers(fleet, elsewhere, "stays")
    assert "Atlantis" in str(told["warnings"])
    rows = asked(elsewhere, "stays")["instances"]
    assert None in {row["town"] for row in rows}
    assert None in {row["price"] for row in rows}


def test_a_text_model_is_released_while_the_mixed_one_is_asked(fleet: Fleet, elsewhere: Path) -> None:
    assert fleet.get("/v2/models/complaints").status_code == 404
    with under_load(fleet.urls, rate=50, questions=[IRIS, question(elsewhere, "stays")]) as load:
        release(elsewhere, "complaints")
        load.during(1)
    record = load.record()
    record.assert_nothing_lost()
    assert len(record.by_release()) == 2
    assert_answers(fleet, elsewhere, "complaints")
    assert_answers(fleet, elsewhere, "stays")


def test_a_model_of_xgboost_takes_its_place_while_the_text_model_is_asked(
    fleet: Fleet, elsewhere: Path
) -> None:
    with under_load(fleet.urls, rate=50, questions=[IRIS, question(elsewhere, "complaints")]) as load:
        release(elsewhere, "boilers", goes="stays")
        load.during(1)
    record = load.record()
    record.assert_nothing_lost()
    assert len(record.by_release()) == 2
    assert_answers(fleet, elsewhere, "boilers")
    rows = asked(elsewhere, "boilers")["instances"]
    assert None in {row["maker"] for row in rows}
    assert None in {row["pressure"] for row in rows}
    stranger = {**rows[0], "maker": "a maker that training did not have"}
    answers = [
        requests.post(
            f"{fleet.url}/predict", json={"model": "boilers", "instances": [row]}, timeout=10
        ).json()
        for row in (stranger, {**stranger, "maker": None})
    ]
    # XGBoost takes a category that it does not know as missing, and the answer says so.
    assert answers[0]["predictions"] == answers[1]["predictions"]
    assert stranger["maker"] in str(answers[0]["warnings"])
    assert "warnings" not in answers[1]
    assert fleet.get("/v2/models/stays").status_code == 404

"""The models of an endpoint: loaded, found, verified, and asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from model_endpoint.models import model
from model_endpoint.models.errors import BundleError, GoldenAnswerError, RequestError
from model_endpoint.models.model import Model, Models, find


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=f"{tmp_path} holds no model; build the image with one"):
        model.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.json", "{"),
        ("model.json", '{"card": {}}'),
        ("golden.json", "["),
        ("predictor.npz", ""),
        ("predictor.npz", "PK\x03\x04"),
        ("predictor.npz", None),
        ("kind", "abacus"),
    ],
)
def test_a_broken_folder_is_named(served: Path, tmp_path: Path, name: str, content: str | None) -> None:
    folder = Path(shutil.copytree(served / "iris", tmp_path / "iris"))
    if name == "kind":
        values = json.loads((folder / "model.json").read_text())
        values["predictor"]["kind"] = content
        (folder / "model.json").write_text(json.dumps(values))
    elif content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(BundleError, match=f"{folder} can't be loaded: .*; build the image again"):
        model.load(tmp_path)


def test_a_model_is_found_by_name_and_version(models: Models) -> None:
    assert find(models, "iris") is find(models, "iris", "1") is models["iris"]
    assert find({"iris": models["iris"]}, None) is models["iris"]


@pytest.mark.parametrize(
    ("name", "version", "status", "message"),
    [
        (None, None, 400, "model must be the name of one of breast_cancer, iris, penguins"),
        (7, None, 400, "model must be the name of one of breast_cancer, iris, penguins"),
        ("rose", None, 404, "model: 'rose' is not served here; the models are breast_cancer, iris, penguins"),
        ("iris", "2", 404, "model 'iris' has no version '2'; it has '1'"),
    ],
)
def test_a_model_that_is_not_served_is_refused(
    models: Models, name: object, version: str | None, status: int, message: str
) -> None:
    with pytest.raises(RequestError) as raised:
        find(models, name, version)
    assert (raised.value.status, raised.value.message) == (status, message)


def test_a_wrong_golden_answer_is_an_error_of_its_own(models: Models) -> None:
    iris = models["iris"]
    iris.verify()
    golden = [{**iris.golden[0], "outputs": {"predict": ["rose"]}}]
    wrong = Model(iris.card, iris.served_by, iris.predictor, golden)  # type: ignore[arg-type]
    with pytest.raises(
        GoldenAnswerError, match=r"iris: golden request 0: predict is .*, expected \['rose'\]"
    ):
        wrong.verify()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_rows_that_the_predictor_refuses_are_a_request_error(models: Models) -> None:
    with pytest.raises(
        RequestError, match="the model refuses these rows: row 1 gives a result that is not finite"
    ):
        models["iris"].predict(np.array([[1.0, 1.0, 1.0, 1.0], [1e308, 1e308, -1e308, 1e308]]))


def test_more_rows_than_the_limit_are_refused(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    iris = models["iris"]
    monkeypatch.setattr(iris, "row_limit", 2)
    assert len(iris.predict(np.zeros((2, 4)))["predict"]) == 2
    with pytest.raises(RequestError, match="has 3 rows, and model 'iris' takes 2; send fewer") as refusal:
        iris.predict(np.zeros((3, 4)))
    assert refusal.value.status == 413

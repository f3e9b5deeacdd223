"""What the image's build makes of bundles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from model_endpoint.models import model
from model_endpoint.models.errors import BundleError
from model_endpoint.packing import bundle, compiled_form, image
from model_endpoint.packing.trust import Trust


def test_a_regressor_of_two_outputs_is_packed_and_served(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 3))
    line = LinearRegression().fit(rows, rows[:, :2] * 2)
    bundle.pack(line, rows, tmp_path / "in" / "line", name="line", version="2.1")
    assert not image.build(tmp_path / "in", tmp_path / "out")
    served = model.load(tmp_path / "out")["line"]
    served.verify()
    np.testing.assert_allclose(served.predict(rows)["predict"], rows[:, :2] * 2, rtol=1e-9, atol=1e-12)


def test_building_a_model_loads_no_other(bundles: Path, tmp_path: Path) -> None:
    other = tmp_path / "out" / "other"
    other.mkdir(parents=True)
    (other / "model.json").write_text("broken")
    image.build_all([bundles / "iris"], other.parent, Trust())
    with pytest.raises(BundleError, match="other can't be loaded"):
        model.load(other.parent)


def test_an_image_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds no model"):
        image.build(tmp_path, tmp_path / "served")
    with pytest.raises(BundleError, match="holds no model"):
        model.load(tmp_path)


def test_a_rule_that_breaks_leaves_the_model_to_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(estimator: object, card: object) -> None:
        raise AttributeError("no coef_")

    monkeypatch.setattr(compiled_form, "compile_estimator", broken)
    rows = np.random.default_rng(0).normal(size=(30, 3))
    line = LinearRegression().fit(rows, rows[:, 0])
    why = {"kind": "scikit-learn", "not_compiled": "AttributeError: no coef_"}
    assert bundle.pack(line, rows, tmp_path / "in" / "line", name="line", version="1").predictor == why
    monkeypatch.undo()
    assert image.build(tmp_path / "in", tmp_path / "served")  # which compiles nothing that pack did not
    served = model.load(tmp_path / "served")["line"]
    assert served.served_by == why
    served.verify()

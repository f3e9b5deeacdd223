"""Bundles: packed, read, and refused."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_wine
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from model_endpoint.models import stored
from model_endpoint.models.errors import BundleError
from model_endpoint.packing import bundle
from model_endpoint.packing.trust import Trust
from unit.model_endpoint.early import as_before


@pytest.fixture
def iris(bundles: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundles / "iris", tmp_path / "bundles" / "iris"))


def test_shipped_bundles_are_right(bundles: Path) -> None:
    for directory in bundles.iterdir():
        assert bundle.read(directory).card.name == directory.name


@pytest.mark.parametrize(
    "name", ["model.yml", "model.skops", "predictor.npz", "verification.json.gz", "golden.json"]
)
def test_a_missing_file_is_named(iris: Path, name: str) -> None:
    (iris / name).unlink()
    with pytest.raises(BundleError, match=rf"iris: {name} is missing"):
        bundle.read(iris)


def test_a_changed_model_file_is_refused(iris: Path) -> None:
    content = bytearray((iris / "model.skops").read_bytes())
    content[100] ^= 1
    (iris / "model.skops").write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.skops is broken: its SHA-256 is"):
        bundle.read(iris)


def test_a_wrong_golden_answer_is_refused(iris: Path) -> None:
    golden = json.loads((iris / "golden.json").read_text())
    golden[0]["outputs"]["predict_proba"][0][0] *= 1 + 1e-6
    (iris / "golden.json").write_text(json.dumps(golden))
    with pytest.raises(BundleError, match="golden request 0: predict_proba is"):
        bundle.read(iris)


@pytest.mark.parametrize(
    ("line", "instead", "message"),
    [
        ("version: '1'", "version: 1", "quoted string"),
        ("name: iris", "name: Iris", "name is 'Iris'; use a-z"),
        ("description:", "flavour: red\ndescription:", "flavour"),
        ("name: iris", "name: rose", "give the folder that name"),
    ],
)
def test_a_wrong_field_is_named(iris: Path, line: str, instead: str, message: str) -> None:
    text = (iris / "model.yml").read_text()
    assert line in text
    (iris / "model.yml").write_text(text.replace(line, instead, 1))
    with pytest.raises(BundleError, match=message):
        bundle.read(iris)


def test_a_type_that_does_not_only_compute_must_be_trusted_by_name(tmp_path: Path) -> None:
    rows = np.arange(40.0).reshape(20, 2)
    tree = DecisionTreeClassifier().fit(rows, rows[:, 0] > 20)
    card = bundle.pack(tree, rows, tmp_path / "tree", name="tree", version="1")
    assert card.outputs[0].datatype == "BOOL"
    assert bundle.read(tmp_path / "tree").card == card
    near = KNeighborsClassifier(1, p=1).fit(rows, rows[:, 0] > 20)  # it does not compile
    own = make_pipeline(FunctionTransformer(inverse_func=statistics.fmean), near)
    card = bundle.pack(own, rows, tmp_path / "own", name="own", version="1")
    with pytest.raises(BundleError, match=r"own: the type statistics\.fmean is not trusted"):
        bundle.read(tmp_path / "own")
    assert bundle.read(tmp_path / "own", Trust(frozenset({"statistics.fmean"}))).card == card


def test_the_types_of_an_estimator_that_nothing_reads_need_no_trust(tmp_path: Path) -> None:
    rows = np.arange(40.0).reshape(20, 2)
    tree = DecisionTreeClassifier().fit(rows, rows[:, 0] > 20)
    own = make_pipeline(FunctionTransformer(inverse_func=statistics.fmean), tree)
    card = bundle.pack(own, rows, tmp_path / "own", name="own", version="1")
    assert (card.compiled, card.allowed_types, card.types_to_trust) == (True, ["statistics.fmean"], [])
    assert bundle.read(tmp_path / "own").estimator is None
    with pytest.raises(BundleError, match=r"own: the type statistics\.fmean is not trusted"):
        bundle.read(as_before(tmp_path / "own"))


@pytest.mark.parametrize("data", [[["a"]], [[float("nan")]], [], [1.0]])
def test_data_that_is_no_table_of_numbers_is_refused(tmp_path: Path, data: object) -> None:
    with pytest.raises(BundleError, match="the data"):
        bundle.pack(LinearRegression(), data, tmp_path / "x", name="x", version="1")


def test_labels_the_protocol_has_no_datatype_for_are_refused(tmp_path: Path) -> None:
    rows = np.arange(40.0).reshape(20, 2)
    dated = DecisionTreeClassifier().fit(rows, np.where(rows[:, 0] > 20, b"a", b"b"))
    with pytest.raises(BundleError, match="has no datatype"):
        bundle.pack(dated, rows, tmp_path / "x", name="x", version="1")


@pytest.fixture
def wine() -> tuple[pd.DataFrame, Any]:
    """A data frame, and a pipeline fitted on it whose columns are chosen by name."""
    data = load_wine(as_frame=True)
    columns = [("scaled", StandardScaler(), ["proline", "alcohol"]), ("ranged", MinMaxScaler(), ["ash"])]
    chosen = ColumnTransformer(columns, remainder="passthrough")
    return data.data, make_pipeline(chosen, LogisticRegression(max_iter=5000)).fit(data.data, data.target)


def test_a_model_that_chooses_columns_by_name_gets_a_data_frame(
    wine: tuple[pd.DataFrame, Any], tmp_path: Path
) -> None:
    data, pipeline = wine
    card = bundle.pack(pipeline, data, tmp_path / "wine", name="wine", version="1")
    packed = stored.load(card, (tmp_path / "wine" / "model.skops").read_bytes())
    assert [feature.name for feature in card.features] == list(data.columns)
    assert card.form == "frame"
    assert np.array_equal(packed.predict_proba(data), pipeline.predict_proba(data))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data.drop(columns="ash"), "the data has no column 'ash'"),
        (
            lambda data: data.assign(target=1),
            "was not fitted on the column 'target'; leave it out: --drop target",
        ),
    ],
)
def test_data_with_other_columns_than_the_model_s_is_refused(
    edit: Callable[[pd.DataFrame], pd.DataFrame], message: str, wine: tuple[pd.DataFrame, Any], tmp_path: Path
) -> None:
    data, pipeline = wine
    with pytest.raises(BundleError, match=message):
        bundle.pack(pipeline, edit(data), tmp_path / "wine", name="wine", version="1")


def test_columns_are_brought_into_the_order_the_model_was_fitted_on(
    wine: tuple[pd.DataFrame, Any], tmp_path: Path
) -> None:
    data, pipeline = wine
    card = bundle.pack(pipeline, data[data.columns[::-1]], tmp_path / "wine", name="wine", version="1")
    assert [feature.name for feature in card.features] == list(data.columns)


def test_a_bundle_that_an_earlier_version_packed_takes_any_number(iris: Path) -> None:
    as_before(iris)
    text = (iris / "model.yml").read_text()
    (iris / "model.yml").write_text(text.replace("type: number", "type: integer", 1))
    assert bundle.read(iris).card.plain

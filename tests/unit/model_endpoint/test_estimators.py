"""Estimators from the files that people have."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import joblib
import pytest
import skops.io
import yaml
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from model_endpoint.models.errors import BundleError
from model_endpoint.packing.estimators import load_estimator
from unit.model_endpoint.own_code import ROWS, SHOP, own_model

LINE = LinearRegression().fit(ROWS, ROWS @ [1.0, 2.0])


def forget(shop: Path) -> None:
    sys.path.remove(str(shop.parent))
    del sys.modules["shop"]


WRITERS: dict[str, Callable[[Any, Path], object]] = {
    "line.joblib": joblib.dump,
    "line.joblib.gz": joblib.dump,
    "line.pkl": lambda line, path: path.write_bytes(pickle.dumps(line)),
    "line.cloudpickle": lambda line, path: path.write_bytes(cloudpickle.dumps(line)),
    "line.skops": skops.io.dump,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_form_of_file_is_read(name: str, tmp_path: Path) -> None:
    WRITERS[name](LINE, tmp_path / name)
    assert load_estimator(tmp_path / name).estimator.predict(ROWS).tolist() == LINE.predict(ROWS).tolist()


def mlflow_folder(folder: Path, **more: Any) -> Path:
    folder.mkdir()
    (folder / "model.pkl").write_bytes(cloudpickle.dumps(LINE))
    flavor = {"pickled_model": "model.pkl", "serialization_format": "cloudpickle", **more.pop("flavor", {})}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavor}, **more}))
    return folder


def test_a_model_folder_of_mlflow_is_read_with_its_signature_and_example(tmp_path: Path) -> None:
    columns = [{"name": "postcode", "type": "string"}, {"name": "size", "type": "double", "required": False}]
    folder = mlflow_folder(
        tmp_path / "model",
        signature={"inputs": json.dumps(columns)},
        saved_input_example_info={"artifact_path": "input_example.json", "pandas_orient": "split"},
    )
    (folder / "input_example.json").write_text("{}")
    (folder / "code").mkdir()
    (folder / "code" / "shop.py").write_text(SHOP)
    loaded = load_estimator(folder)
    assert loaded.types == {"postcode": "string", "size": "number"}
    assert loaded.example == folder / "input_example.json"
    assert loaded.code == [folder / "code" / "shop.py"]
    assert loaded.estimator.predict(ROWS).tolist() == LINE.predict(ROWS).tolist()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"flavor": {"sklearn_version": "1.0.2"}}, "fitted with scikit-learn 1.0.2, and"),
        ({"signature": {"inputs": '[{"name": "a", "type": "binary"}]'}}, "column 'a' is of type binary"),
        ({"flavors": {"pytorch": {}}}, "its flavors are pytorch"),
    ],
)
def test_a_folder_of_mlflow_that_can_not_be_packed_is_refused(
    more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=message):
        load_estimator(mlflow_folder(tmp_path / "model", **more))


def test_a_model_of_another_version_is_refused_with_both_named(tmp_path: Path) -> None:
    content = pickle.dumps(LINE)
    here = importlib.import_module("sklearn").__version__
    other = f"{here[:-1]}{(int(here[-1]) + 1) % 10}"
    assert content.count(here.encode()) == 1
    (tmp_path / "line.pkl").write_bytes(content.replace(here.encode(), other.encode()))
    with pytest.raises(BundleError, match=rf"fitted with scikit-learn {other}, and {here} is installed here"):
        load_estimator(tmp_path / "line.pkl")
    # Where the types of then are gone today, the version is what there is to say.
    lost = content.replace(b"LinearRegression", b"LinearOldRegress")
    (tmp_path / "line.pkl").write_bytes(lost.replace(here.encode(), other.encode()))
    with pytest.raises(BundleError, match=rf"fitted with scikit-learn {other}"):
        load_estimator(tmp_path / "line.pkl")


def test_own_code_is_found_where_it_is_given_and_named_where_it_is_not(shop: Path, tmp_path: Path) -> None:
    joblib.dump(own_model(shop), tmp_path / "own.joblib")
    forget(shop)
    with pytest.raises(
        BundleError, match=r"the module shop, which is not installed here; .* --code shop\.py"
    ):
        load_estimator(tmp_path / "own.joblib")
    loaded = load_estimator(tmp_path / "own.joblib", [shop])
    assert loaded.estimator.predict(ROWS).shape == (40,)


class Local(RandomForestRegressor):  # type: ignore[misc]
    """A class that a notebook might define."""


def in_notebook(path: Path) -> None:
    Local.__module__ = "__main__"
    cloudpickle.dump(Local(2).fit(ROWS, ROWS[:, 0]), path.open("wb"))


def by_reference(path: Path) -> None:
    path.write_bytes(
        pickle.dumps(LINE, protocol=2)
        .replace(b"sklearn.linear_model._base", b"__main__")
        .replace(b"LinearRegression", b"Ratio")
    )


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda path: path.write_bytes(
                cloudpickle.dumps(make_pipeline(FunctionTransformer(lambda rows: rows), LINE))
            ),
            r"holds a lambda, .* with --code shop\.py",
        ),
        (in_notebook, r"holds the class Local, which was defined in a notebook or script"),
        (by_reference, r"holds Ratio, which was defined in a notebook or script \(__main__\)"),
        (lambda path: joblib.dump({"model": LINE, "columns": []}, path), r"a model under 'model' \(Linear"),
        (lambda path: joblib.dump([1], path), "holds a list, not one estimator"),
        (lambda path: joblib.dump(LinearRegression, path), "holds the class LinearRegression"),
        (lambda path: joblib.dump(ROWS, path), "holds a ndarray, which can't predict"),
        (lambda path: path.write_bytes(b"PK"), "holds no estimator that can be read"),
        (lambda path: path.write_bytes(b""), "holds no estimator that can be read"),
        (lambda path: path.mkdir(), "is no model folder of MLflow"),
        (lambda path: path, "there is no such file or folder"),
    ],
)
def test_what_is_no_estimator_is_refused_in_a_sentence(
    write: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "model.joblib")
    with pytest.raises(BundleError, match=message) as refused:
        load_estimator(tmp_path / "model.joblib")
    assert len(str(refused.value).splitlines()) == 1

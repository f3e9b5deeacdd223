"""Models in the own formats of XGBoost, LightGBM and CatBoost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import yaml
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer
from xgboost import XGBClassifier, XGBRegressor

from model_endpoint.models import boosted_files, model
from model_endpoint.models.errors import BundleError
from model_endpoint.models.kinds import KINDS
from model_endpoint.packing import bundle, image
from model_endpoint.packing.trust import Trust
from unit.model_endpoint.server import SOURCE

IRIS, DIABETES = load_iris(), load_diabetes()
TWO = IRIS.target[:100]
NAMES = IRIS.target_names[IRIS.target]
FEW: dict[str, Any] = {"n_estimators": 4, "n_jobs": 2}
TRUSTED = Trust(frozenset({"xgboost.core.Booster", "xgboost.sklearn.XGBClassifier"}))
LIGHT: dict[str, Any] = {**FEW, "verbose": -1}
pytestmark = pytest.mark.usefixtures("fewer_rows")


def packed(tmp_path: Path, estimator: Any, data: Any) -> Path:
    bundle.pack(estimator, data, tmp_path / "in" / "trees", name="trees", version="1")
    return tmp_path / "in" / "trees"


@pytest.mark.parametrize(
    ("fit", "kind", "file"),
    [
        (
            lambda: XGBClassifier(**FEW, objective="binary:hinge").fit(IRIS.data[:100], TWO),
            "xgboost",
            "model.xgboost",
        ),
        (lambda: XGBRegressor(**FEW).fit(DIABETES.data, DIABETES.target), "numpy trees", "model.xgboost"),
        (
            lambda: LGBMClassifier(**LIGHT, boosting_type="rf", bagging_freq=1, bagging_fraction=0.5).fit(
                IRIS.data, NAMES
            ),
            "lightgbm",
            "model.lightgbm",
        ),
        (
            lambda: LGBMRegressor(
                **LIGHT, boosting_type="rf", bagging_freq=1, bagging_fraction=0.5
            ).fit(DIABETES.data, DIABETES.target),
            "lightgbm",
            "model.lightgbm",
        ),
        (lambda: LGBMClassifier(**LIGHT).fit(IRIS.data, NAMES), "numpy trees", "model.lightgbm"),
    ],
)  # fmt: skip
def test_a_model_is_stored_in_its_library_s_format_and_needs_no_trust(
    fit: Callable[[], Any], kind: str, file: str, tmp_path: Path
) -> None:
    estimator = fit()
    data = IRIS.data if estimator.n_features_in_ == 4 else DIABETES.data
    directory = packed(tmp_path, estimator, data)
    assert (directory / file).is_file()
    assert not (directory / "model.skops").exists()
    image.build(tmp_path / "in", tmp_path / "out")
    served = model.load(tmp_path / "out")["trees"]
    assert served.served_by["kind"] == kind
    served.verify()
    assert served.predict(data)["predict"].tolist() == estimator.predict(data).tolist()
    assert KINDS[kind].platform == (kind if kind in ("xgboost", "lightgbm") else "sklearn")


@pytest.mark.parametrize(
    "estimator",
    [LGBMRegressor(**LIGHT, min_child_samples=2), XGBRegressor(**FEW, enable_categorical=True)],
    ids=["lightgbm", "xgboost"],
)
def test_the_categories_of_a_data_frame_are_compiled(estimator: Any, tmp_path: Path) -> None:
    frame = pandas.DataFrame({"size": DIABETES.data[:200, 2], "port": ["C", "S", "Q", None] * 50})
    frame["port"] = frame["port"].astype("category").cat.reorder_categories(["S", "Q", "C"])
    packed(tmp_path, estimator.fit(frame, DIABETES.target[:200] + 90 * (frame["port"] == "Q")), frame)
    trusted = Trust(frozenset({"xgboost.core.Booster", "xgboost.sklearn.XGBRegressor"}))
    image.build(tmp_path / "in", tmp_path / "out", trusted)
    assert model.load(tmp_path / "out")["trees"].served_by["kind"] == "numpy pipeline"


def test_what_a_library_s_format_does_not_say_is_stored_in_skops_form(tmp_path: Path) -> None:
    rows = DIABETES.data.copy()
    rows[0, 0] = -1.0
    estimator = XGBRegressor(**FEW, missing=-1.0).fit(rows, DIABETES.target)
    assert (packed(tmp_path, estimator, DIABETES.data) / "model.skops").is_file()


FORKS = """
import os, signal, sys
from pathlib import Path
from model_endpoint.models import model
models = model.load(Path(sys.argv[1]))
for served in models.values():
    served.verify()
child = os.fork()
if child == 0:
    signal.alarm(60)
    for served in models.values():
        served.serve(2, lambda rows: None)
        served.verify()
    os._exit(len(models))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_worker_answers(tmp_path: Path) -> None:
    hinge = XGBClassifier(**FEW, objective="binary:hinge").fit(IRIS.data[:100], TWO)
    forest = LGBMRegressor(**LIGHT, boosting_type="rf", bagging_freq=1, bagging_fraction=0.5)
    estimators = {
        "own": hinge,
        "inside": make_pipeline(Binarizer(), hinge),  # in skops form
        "light": forest.fit(IRIS.data, IRIS.target),
    }
    for name, estimator in estimators.items():
        bundle.pack(estimator, IRIS.data, tmp_path / "in" / name, name=name, version="1")
    image.build(tmp_path / "in", tmp_path / "out", TRUSTED)
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(tmp_path / "out")],
        env=environment | {"PYTHONPATH": str(SOURCE)},
        check=False,
    )
    assert done.returncode == 3


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    directory = packed(tmp_path, XGBRegressor(**FEW).fit(DIABETES.data, DIABETES.target), DIABETES.data)
    card = yaml.safe_load((directory / "model.yml").read_text())
    card["stored_as"] = "xgboost.Booster"
    (directory / "model.yml").write_text(yaml.safe_dump(card))
    with pytest.raises(BundleError, match=r"stored as 'xgboost\.Booster', for which there is no format"):
        bundle.read(directory)


def hostile_xgboost(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> bytes:
    """XGBoost's JSON of a model with categories, with its first tree changed."""
    kinds = np.stack([DIABETES.data[:, 0], np.arange(len(DIABETES.data)) % 7], axis=1)
    fitted = XGBRegressor(**FEW, enable_categorical=True, feature_types=["q", "c"]).fit(
        kinds, kinds[:, 1] % 3 + kinds[:, 0]
    )
    content = json.loads(bytes(fitted.get_booster().save_raw("json")))
    boosted_files.check_xgboost(json.dumps(content).encode(), 2)
    assert content["learner"]["gradient_booster"]["model"]["trees"][0]["categories"]
    change(content["learner"], content["learner"]["gradient_booster"]["model"]["trees"][0])
    return json.dumps(content).encode()


def put(name: str, at: int, value: int) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(learner: dict[str, Any], tree: dict[str, Any]) -> None:
        del learner
        tree[name][at] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("left_children", 0, 10_000),
        put("left_children", 0, -7),
        put("left_children", 1, 0),
        put("right_children", 0, 1),
        put("parents", 1, 2),
        put("split_indices", 0, 2),
        put("categories_segments", 0, 5_000),
        put("categories_sizes", 0, 5_000),
        put("categories_nodes", 0, 5_000),
        put("categories", 0, -1),
        lambda learner, tree: tree["split_conditions"].pop(),
        lambda learner, tree: learner["learner_model_param"].update(num_feature="3"),
        lambda learner, tree: learner["gradient_booster"]["model"]["tree_info"].__setitem__(0, 9),
        lambda learner, tree: learner["gradient_booster"]["model"]["iteration_indptr"].append(99),
        lambda learner, tree: learner["gradient_booster"].update(name="gblinear"),
    ],
)
def test_a_hostile_model_of_xgboost_is_refused(
    change: Callable[[dict[str, Any], dict[str, Any]], None],
) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        boosted_files.check_xgboost(hostile_xgboost(change), 2)


def light_text() -> str:
    kinds = np.stack([DIABETES.data[:, 0], np.arange(len(DIABETES.data)) % 7], axis=1)
    fitted = LGBMRegressor(**LIGHT, min_data_per_group=5, cat_smooth=1).fit(
        kinds, kinds[:, 1] % 3 + kinds[:, 0], categorical_feature=[1]
    )
    return str(fitted.booster_.model_to_string())


def in_line(name: str, at: int, value: str) -> Callable[[str], str]:
    """Changes one number of the first tree, and keeps what LightGBM reads the trees by."""

    def change(text: str) -> str:
        begin = text.index("\nTree=0")
        end = text.index("\nTree=1")
        line = next(line for line in text[begin:end].splitlines() if line.startswith(f"{name}="))
        words = line.partition("=")[2].split()
        words[at] = value
        changed = text[begin:end].replace(line, f"{name}={' '.join(words)}")
        sizes = text.partition("tree_sizes=")[2].splitlines()[0]
        first = sizes.split()[0]
        text = text.replace(text[begin:end], changed)
        other = str(int(first) + len(changed.encode()) - (end - begin))
        return text.replace(f"tree_sizes={first}", f"tree_sizes={other}")

    return change


@pytest.mark.parametrize(
    "change",
    [
        in_line("left_child", 0, "4000"),
        in_line("left_child", 0, "-4000"),
        in_line("left_child", 1, "0"),
        in_line("right_child", 0, "1"),
        in_line("split_feature", 0, "2"),
        in_line("split_feature", 0, "-1"),
        in_line("cat_boundaries", 1, "900"),
        in_line("num_cat", 0, "0"),
        in_line("num_leaves", 0, "90"),
        in_line("is_linear", 0, "1"),
        lambda text: text.replace("tree_sizes=", "tree_sizes=1"),
        lambda text: text.replace("max_feature_idx=1", "max_feature_idx=8"),
        lambda text: text.replace("num_tree_per_iteration=1", "num_tree_per_iteration=3"),
        lambda text: text.replace("num_class=1", "num_class=1\nnum_class=2"),
    ],
)
def test_a_hostile_model_of_lightgbm_is_refused(change: Callable[[str], str]) -> None:
    text = light_text()
    boosted_files.check_lightgbm(text.encode(), 2)
    assert change(text) != text
    with pytest.raises((ValueError, KeyError, TypeError)):
        boosted_files.check_lightgbm(change(text).encode(), 2)


def test_catboost_that_does_not_compile_is_stored_in_its_own_format_and_must_be_trusted(
    tmp_path: Path,
) -> None:
    estimator = CatBoostClassifier(
        iterations=4, verbose=0, allow_writing_files=False, thread_count=1, grow_policy="Lossguide"
    )
    directory = packed(tmp_path, estimator.fit(IRIS.data, NAMES), IRIS.data)
    assert (directory / "model.cbm").is_file()
    with pytest.raises(BundleError, match=r"the type catboost\.CatBoostClassifier is not trusted"):
        image.build(tmp_path / "in", tmp_path / "out")
    image.build(tmp_path / "in", tmp_path / "out", Trust(frozenset({"catboost.CatBoostClassifier"})))
    served = model.load(tmp_path / "out")["trees"]
    served.verify()
    assert served.predict(IRIS.data)["predict"].tolist() == estimator.predict(IRIS.data).tolist()

"""Trees with missing values and categories, and boosted trees of other libraries, against the estimators themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

from model_endpoint.models.compiled import leaf_masks, trees
from model_endpoint.models.compiled.files import read_arrays
from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.scikit_learn import SklearnPredictor
from model_endpoint.models.stored import SCIKIT_LEARN
from model_endpoint.packing.compiling.common import NotCompilableError
from model_endpoint.packing.compiling.compiler import compile_estimator
from model_endpoint.packing.proof import prove
from unit.model_endpoint.compiled_cases import served

Data = NDArray[np.float64]
ONE_BIT = 2.0**-23
"""C's exponential function and numpy's may differ in the last bit of a float32."""


def with_gaps(data: Data) -> Data:
    gaps = np.array(data, dtype=np.float64)
    gaps[np.random.default_rng(0).random(gaps.shape) < 0.1] = np.nan
    return gaps


IRIS, CANCER, DIABETES = load_iris(), load_breast_cancer(), load_diabetes()
NAMES = IRIS.target_names[IRIS.target]
FLOWERS, CELLS, PEOPLE = map(with_gaps, (IRIS.data, CANCER.data[:200], DIABETES.data[:200]))
CANCEROUS, PROGRESS = CANCER.target[:200], DIABETES.target[:200]
ZEROS = np.round(PEOPLE * 20) + 0.0


def shop() -> tuple[Data, Data, Data]:
    """Rows whose last two columns are categories, their target, and rows with values that training did not have."""
    generator = np.random.default_rng(1)
    kinds = np.stack([generator.integers(0, 9, 200), generator.choice([3.0, 7.0, 40.0], 200)], axis=1)
    data = np.concatenate([DIABETES.data[:200, :3], kinds], axis=1)
    target = PROGRESS + 90.0 * (kinds[:, 0] % 3) + 99.0 * (kinds[:, 1] == 7)
    data[::7, 3] = np.nan
    odd = data.copy()
    odd[::5, 4], odd[1::5, 3], odd[2::5, 3] = 55.0, 2000.0, 2.5
    return data, target, odd


SHOP, SPENT, ODD = shop()
ONE: dict[str, Any] = {"n_estimators": 25, "n_jobs": 1}
LIGHT: dict[str, Any] = {**ONE, "verbose": -1}
Case = tuple[str, Callable[[], Any], Data]
CASES: list[Case] = [
    ("forest", lambda: RandomForestClassifier(12, random_state=0).fit(CELLS, CANCEROUS), CELLS),
    ("tree", lambda: DecisionTreeRegressor(random_state=0).fit(PEOPLE, PROGRESS), PEOPLE),
    ("histogram", lambda: HistGradientBoostingClassifier(max_iter=12).fit(FLOWERS, NAMES), FLOWERS),
    (
        "histogram, categories",
        lambda: HistGradientBoostingRegressor(max_iter=25, categorical_features=[3, 4]).fit(SHOP, SPENT),
        ODD,
    ),
    ("xgboost, two classes", lambda: XGBClassifier(**ONE).fit(CELLS, CANCEROUS), CELLS),
    ("xgboost, three classes", lambda: XGBClassifier(**ONE).fit(FLOWERS, IRIS.target), FLOWERS),
    ("xgboost, numbers", lambda: XGBRegressor(**ONE).fit(PEOPLE, PROGRESS), PEOPLE),
    ("xgboost, deep", lambda: XGBRegressor(**ONE, max_depth=14).fit(PEOPLE, PROGRESS), PEOPLE),
    (
        "xgboost, counts",
        lambda: XGBRegressor(**ONE, objective="count:poisson").fit(PEOPLE, PROGRESS),
        PEOPLE,
    ),
    (
        "xgboost, two targets",
        lambda: XGBRegressor(**ONE).fit(PEOPLE, np.stack([PROGRESS, -PROGRESS], axis=1)),
        PEOPLE,
    ),
    ("xgboost, forest", lambda: XGBRFClassifier(**ONE).fit(FLOWERS, IRIS.target), FLOWERS),
    (
        "xgboost, stopped early",
        lambda: XGBRegressor(n_estimators=60, early_stopping_rounds=2).fit(
            PEOPLE[:150], PROGRESS[:150], eval_set=[(PEOPLE[150:], PROGRESS[150:])], verbose=False
        ),
        PEOPLE,
    ),
    (
        "xgboost, categories",
        lambda: XGBRegressor(**ONE, enable_categorical=True, feature_types=list("qqqcc")).fit(SHOP, SPENT),
        ODD,
    ),
    ("lightgbm, two classes", lambda: LGBMClassifier(**LIGHT).fit(CANCER.data[:200], CANCEROUS), CELLS),
    ("lightgbm, three classes", lambda: LGBMClassifier(**LIGHT).fit(FLOWERS, NAMES), FLOWERS),
    (
        "lightgbm, each class",
        lambda: LGBMClassifier(**LIGHT, objective="multiclassova").fit(FLOWERS, NAMES),
        FLOWERS,
    ),
    (
        "lightgbm, counts",
        lambda: LGBMRegressor(**LIGHT, objective="poisson").fit(PEOPLE, PROGRESS),
        PEOPLE,
    ),
    (
        "lightgbm, many leaves",
        lambda: LGBMRegressor(**LIGHT, num_leaves=99, min_child_samples=1).fit(PEOPLE, PROGRESS),
        PEOPLE,
    ),
    (
        "lightgbm, zeros missing",
        lambda: LGBMRegressor(**LIGHT, zero_as_missing=True).fit(ZEROS, PROGRESS),
        ZEROS,
    ),
    (
        "lightgbm, categories",
        lambda: LGBMRegressor(**LIGHT, min_data_per_group=5, cat_smooth=1).fit(
            SHOP, SPENT, categorical_feature=[3, 4]
        ),
        ODD,
    ),
]


@pytest.mark.parametrize(("fit", "data"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize("tables", [True, False])
def test_compiled_trees_answer_as_the_estimator_does(
    fit: Callable[[], Any], data: Data, tables: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "TABLES_FROM", 0)
    if not tables:
        monkeypatch.setattr(leaf_masks, "MOST_BYTES", 0)
    estimator = fit()
    compile_estimator(estimator).save(tmp_path / "predictor.npz")
    compiled = CompiledPredictor.from_arrays(read_arrays(tmp_path / "predictor.npz"))
    reference = SklearnPredictor(estimator)
    for rows in (data, data[:9], data[:1], data[5:6]):
        expected, got = reference(rows), compiled(rows)
        assert list(got) == list(expected)
        for name, right in expected.items():
            assert got[name].dtype == right.dtype
            if right.dtype.kind == "f":
                np.testing.assert_allclose(
                    got[name], right, rtol=ONE_BIT if right.dtype == np.float32 else 1e-13, atol=0
                )
            else:
                np.testing.assert_array_equal(got[name], right)


@pytest.mark.parametrize(
    "estimator", [XGBRegressor(**ONE), LGBMRegressor(**LIGHT)], ids=["xgboost", "lightgbm"]
)
def test_sums_are_the_library_s_own_to_the_last_bit(estimator: Any) -> None:
    fitted = estimator.fit(PEOPLE, PROGRESS)
    compiled = compile_estimator(fitted)
    for rows in (PEOPLE, PEOPLE[:1]):
        np.testing.assert_array_equal(compiled(rows)["predict"], fitted.predict(rows))


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (lambda: XGBRegressor(**ONE, booster="dart").fit(PEOPLE, PROGRESS), "booster dart"),
        (lambda: XGBRegressor(**ONE, missing=-1.0).fit(DIABETES.data, DIABETES.target), "-1.0 as the missing value"),
        (lambda: XGBRegressor(**ONE, multi_strategy="multi_output_tree", objective="reg:squarederror").fit(
            PEOPLE, np.stack([PROGRESS, -PROGRESS], axis=1)), "several values in a leaf"),
        (lambda: LGBMRegressor(**LIGHT, linear_tree=True).fit(DIABETES.data, DIABETES.target), "lines"),
        (lambda: LGBMClassifier(**LIGHT, sigmoid=2.0).fit(CELLS, CANCEROUS), "objective"),
    ],
    ids=["dart", "missing", "vectors", "lines", "sigmoid"],
)  # fmt: skip
def test_what_has_no_rule_is_named(fit: Callable[[], Any], words: str) -> None:
    with pytest.raises(NotCompilableError, match=words):
        compile_estimator(fit())


def head_of(compiled: Any) -> trees.TreesHead:
    head = compiled._head
    assert isinstance(head, trees.TreesHead)
    return head


def changed(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A compiled model with categories, changed by a stranger."""
    path = tmp_path / "predictor.npz"
    compile_estimator(
        HistGradientBoostingRegressor(max_iter=3, categorical_features=[3, 4]).fit(SHOP, SPENT)
    ).save(path)
    CompiledPredictor.from_arrays(read_arrays(path))
    arrays = dict(np.load(path))
    change(arrays)
    np.savez(path, **arrays)
    return path


def node_of(arrays: dict[str, Any]) -> int:
    """An inner node that is no root."""
    inner = np.flatnonzero(arrays["head_left"] > np.arange(len(arrays["head_left"])))
    return int(inner[inner >= len(arrays["head_depths"])][0])


def circle(arrays: dict[str, Any]) -> None:
    arrays["head_left"][node_of(arrays)] = 0


def shared_child(arrays: dict[str, Any]) -> None:
    arrays["head_left"][node_of(arrays)] = arrays["head_left"][0]


def column_outside(arrays: dict[str, Any]) -> None:
    arrays["head_feature"][0] = 10_000


def source_outside(arrays: dict[str, Any]) -> None:
    arrays["head_column_source"][:] = 70


def set_outside(arrays: dict[str, Any]) -> None:
    arrays["head_column_member"][:] = 70


def kind_unknown(arrays: dict[str, Any]) -> None:
    arrays["head_column_kind"][:] = 9


def too_few_sets(arrays: dict[str, Any]) -> None:
    arrays["head_column_sets"] = arrays["head_column_sets"][:, :1]


def too_few_ways(arrays: dict[str, Any]) -> None:
    arrays["head_missing_right"] = arrays["head_missing_right"][:-1]


def other_scores(arrays: dict[str, Any]) -> None:
    arrays["head_base"] = np.zeros(2)


@pytest.mark.parametrize(
    "change",
    [
        *(circle, shared_child, column_outside, source_outside, set_outside),
        *(kind_unknown, too_few_sets, too_few_ways, other_scores),
    ],
)
def test_a_hostile_file_is_refused_when_it_is_read(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"contradict|outside|exist|same one"):
        CompiledPredictor.from_arrays(read_arrays(changed(tmp_path, change)))


def test_too_large_tables_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = XGBRegressor(n_estimators=400, n_jobs=1).fit(PEOPLE, PROGRESS)
    assert head_of(compile_estimator(fitted))._masks is not None
    monkeypatch.setattr(leaf_masks, "MOST_WORDS", 100)
    assert head_of(compile_estimator(fitted))._masks is None


@pytest.mark.parametrize(
    "fit",
    [
        lambda: XGBClassifier(**ONE).fit(CELLS, CANCEROUS),
        lambda: LGBMClassifier(**LIGHT).fit(CELLS, CANCEROUS),
        lambda: HistGradientBoostingClassifier(max_iter=12).fit(CELLS, CANCEROUS),
        lambda: RandomForestClassifier(12, random_state=0).fit(CELLS, CANCEROUS),
    ],
    ids=["xgboost", "lightgbm", "histogram", "forest"],
)
@pytest.mark.usefixtures("fewer_rows")
def test_a_proof_compares_missing_values_and_thresholds(fit: Callable[[], Any]) -> None:
    estimator = fit()
    compiled: Any = compile_estimator(estimator)
    low, high = np.nanmin(CELLS, axis=0), np.nanmax(CELLS, axis=0)
    assert prove(estimator, compiled, CELLS[:20], low, high).edge_rows > 100
    arrays = head_of(compiled).arrays()
    arrays["missing_right"] = ~arrays["missing_right"]
    compiled._head = trees.TreesHead.of_arrays(arrays)
    with pytest.raises(NotCompilableError, match="differs"):
        prove(estimator, compiled, CELLS[:20], low, high)
    arrays["missing_right"] = ~arrays["missing_right"]
    arrays["threshold"] = np.nextafter(arrays["threshold"], -np.inf)
    if isinstance(estimator, XGBClassifier):
        arrays["threshold"] = np.nextafter(
            arrays["threshold"].astype(np.float32), np.float32(-np.inf)
        ).astype(float)
    arrays["threshold"][arrays["left"] == np.arange(len(arrays["left"]))] = np.inf
    compiled._head = trees.TreesHead.of_arrays(arrays)
    with pytest.raises(NotCompilableError, match=r"(edge|random) rows"):
        prove(estimator, compiled, CELLS[:20], low, high)


@pytest.mark.parametrize(("fit", "data"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_many_rows_are_answered_as_few_are(fit: Callable[[], Any], data: Data) -> None:
    compiled = compile_estimator(fit())
    few = [compiled(data[start : start + 50]) for start in range(0, len(data), 50)]
    times = trees.TREE_AFTER_TREE // len(data) + 1
    many = compiled(np.tile(data, (times, 1)))
    for name in few[0]:
        answers = np.concatenate([answer[name] for answer in few])
        np.testing.assert_array_equal(many[name], np.concatenate([answers] * times), strict=True)


def test_trees_that_round_to_float32_take_arrays_of_float32(tmp_path: Path) -> None:
    data = np.nan_to_num(CELLS).astype(np.float32)
    rounding = served(XGBClassifier(**ONE).fit(data, CANCEROUS), data, tmp_path / "rounding")
    assert rounding.served_by["kind"] == "numpy trees"
    scaled = make_pipeline(StandardScaler(), DecisionTreeRegressor()).fit(data, CANCEROUS)
    assert served(scaled, data, tmp_path / "scaled").served_by["kind"] == SCIKIT_LEARN

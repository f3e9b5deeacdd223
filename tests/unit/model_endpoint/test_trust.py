"""Bundles of people with bad intentions: what they bring is refused before it can do harm."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, SplineTransformer
from sklearn.svm import SVC, SVR, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier

from model_endpoint.models import skops_file
from model_endpoint.models.compiled.files import read_arrays
from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.content_checks import check_content, parts_of
from model_endpoint.models.errors import BundleError
from model_endpoint.packing import bundle, dump, image
from model_endpoint.packing.trust import Trust
from unit.model_endpoint.early import as_before

ROWS = np.random.default_rng(0).normal(size=(60, 3))
LABELS = ROWS[:, 0] > 0
Arrays = dict[str, Any]


@pytest.fixture
def forest(bundles: Path, tmp_path: Path) -> Path:
    """A bundle without the compiled form, whose estimator is read."""
    return as_before(Path(shutil.copytree(bundles / "breast_cancer", tmp_path / "bundles" / "breast_cancer")))


def replace_model(directory: Path, content: bytes) -> None:
    """Put another model file into a bundle, with a card that agrees with it."""
    card = yaml.safe_load((directory / "model.yml").read_text())
    card["model_sha256"] = hashlib.sha256(content).hexdigest()
    card["allowed_types"] = ["posix.system", "sklearn.tree._tree.Tree", "shop.Anything"]
    (directory / "model.yml").write_text(yaml.safe_dump(card))
    (directory / "model.skops").write_bytes(content)


def edited(content: bytes, edit: Callable[[str, Any], Any]) -> bytes:
    """A skops file with each array as `edit` returns it, given its name and its content."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(written, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith(".npy"):
                array = np.load(io.BytesIO(data))
                changed = io.BytesIO()
                np.save(changed, edit(name, array))
                data = changed.getvalue()
            target.writestr(name, data)
    return written.getvalue()


def edit_nodes(content: bytes, edit: Callable[[Any], None]) -> bytes:
    """A skops file in which the nodes of each tree are as `edit` left them."""

    def nodes(name: str, array: Any) -> Any:
        if array.dtype.names:
            edit(array)
        return array

    return edited(content, nodes)


def test_a_bundle_can_not_allow_itself_a_command(forest: Path, tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    command = partial(os.system, f"touch {planted}")
    harmful = make_pipeline(FunctionTransformer(command), LinearRegression().fit(ROWS, LABELS))
    replace_model(forest, dump.dump(harmful, "here"))
    with pytest.raises(BundleError, match=r"the type posix\.system is not trusted"):
        bundle.read(forest)
    with pytest.raises(BundleError, match=r"the type posix\.system is not trusted"):
        image.build(forest.parent, tmp_path / "served")
    assert not planted.exists()
    # The same file does run it for a fleet that trusts the type, so the refusal is what kept it from running.
    skops_file.loads((forest / "model.skops").read_bytes(), ["posix.system"])[0].func()
    assert planted.exists()


def outside(nodes: Any) -> None:
    nodes["right_child"][0] = 1_000_000


def circle(nodes: Any) -> None:
    nodes["left_child"][nodes["left_child"] > 0] = 0


def negative(nodes: Any) -> None:
    nodes["left_child"][0] = -7


def wide(nodes: Any) -> None:
    nodes["feature"][0] = 1_000


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (outside, "a node's child lies outside the tree or above it"),
        (circle, "a node's child lies outside the tree or above it"),
        (negative, "a node's child lies outside the tree or above it"),
        (wide, "a node asks for a feature outside the 30"),
    ],
)
def test_a_tree_that_points_outside_is_refused(
    forest: Path, edit: Callable[[Any], None], message: str
) -> None:
    replace_model(forest, edit_nodes((forest / "model.skops").read_bytes(), edit))
    with pytest.raises(BundleError, match=message):
        bundle.read(forest)


def schema_edited(content: bytes, old: str, new: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(written, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "schema.json":
                text = json.dumps(json.loads(data))
                assert old in text
                data = text.replace(old, new).encode()
            target.writestr(name, data)
    return written.getvalue()


def test_a_tree_that_says_more_nodes_than_it_has_is_refused_before_it_is_made() -> None:
    tree = RandomForestClassifier(1, max_depth=1, random_state=0).fit(ROWS, LABELS)
    content = dump.dump(tree, "here")
    count = json.loads(zipfile.ZipFile(io.BytesIO(content)).read("schema.json"))
    node = json.dumps(find(count, "node_count"))
    assert node in json.dumps(count)
    more = node.replace('"content": "3"', '"content": "300000"')
    assert more != node
    with pytest.raises(ValueError, match="it says 300000 nodes and has 3"):
        skops_file.loads(schema_edited(content, node, more))


def find(node: Any, key: str) -> Any:
    """The first value under `key`, anywhere in parsed JSON."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and key in node:
        return node[key]
    return next((found for child in children if (found := find(child, key)) is not None), None)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(forest: Path) -> None:
    written = io.BytesIO()
    with (
        zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target,
        target.open("schema.json", "w", force_zip64=True) as file,
    ):
        for _ in range(300):
            file.write(bytes(1 << 20))
    assert len(written.getvalue()) < 1_000_000
    replace_model(forest, written.getvalue())
    with pytest.raises(BundleError, match="unpack to 314,572,800 bytes"):
        bundle.read(forest)


def test_an_array_that_says_more_than_it_has_is_refused() -> None:
    content = dump.dump(LinearRegression().fit(ROWS, LABELS), "here")
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(written, "w") as target:
        for name in source.namelist():
            large = source.read(name).replace(b"'shape': (3,), }        ", b"'shape': (3000000000,), }")
            target.writestr(name, large)
    with pytest.raises(ValueError, match=r"says float64 of shape \(3000000000,\), but has 2\d bytes"):
        skops_file.loads(written.getvalue())


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("head_left", lambda left: np.where(left > 5, 0, left), "lies outside"),
        ("head_left", lambda left: left + 100_000, "lies outside"),
        ("head_feature", lambda feature: feature - 5, "lies outside"),
        ("head_depths", lambda depths: depths + 1_000_000_000, "deeper than"),
        ("head_values", lambda values: values[:-2], "contradict"),
    ],
)
def test_a_changed_npz_is_refused(
    served: Path, tmp_path: Path, name: str, edit: Callable[[Any], Any], message: str
) -> None:
    source = served / "breast_cancer" / "predictor.npz"
    arrays = dict(np.load(source))
    CompiledPredictor.from_arrays(read_arrays(source))
    np.savez(tmp_path / "predictor.npz", allow_pickle=False, **{**arrays, name: edit(arrays[name])})
    with pytest.raises(ValueError, match=message):
        CompiledPredictor.from_arrays(read_arrays(tmp_path / "predictor.npz"))


def test_an_npz_that_says_more_than_it_has_is_refused(served: Path, tmp_path: Path) -> None:
    source = served / "iris" / "predictor.npz"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(tmp_path / "predictor.npz", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"'shape': (3,), }      ", b"'shape': (30000000,), }"))
    with pytest.raises(ValueError, match=r"says \S+ of shape \(30000000,\)"):
        CompiledPredictor.from_arrays(read_arrays(tmp_path / "predictor.npz"))


def change(path: str, edit: Callable[[Any], Any]) -> Callable[[Any], None]:
    """What changes one attribute, which `path` names, of a fitted estimator."""

    def apply(estimator: Any) -> None:
        *parents, name = path.split(".")
        for parent in parents:
            estimator = estimator[int(parent)] if parent.isdigit() else getattr(estimator, parent)
        setattr(estimator, name, edit(getattr(estimator, name)))

    return apply


FEWER: Callable[[Any], Any] = lambda array: array[:-1]  # noqa: E731
LIES: list[tuple[Any, Callable[[Any], None], str]] = [
    (SVC(), change("support_vectors_", FEWER), "its support vectors are incomplete"),
    (SVC(), change("_n_support", lambda counts: counts * 1000), "its support vectors are incomplete"),
    (SVR(), change("_dual_coef_", lambda array: array[:, :-1]), "its coefficients are incomplete"),
    (NuSVC(), change("_intercept_", FEWER), "its intercepts are incomplete"),
    (OneClassSVM(), change("support_vectors_", lambda array: array[:, :-1]), "too narrow"),
    (
        KMeans(2, n_init=1),
        change("cluster_centers_", lambda array: array[:, :-1]),
        "its centres have the shape",
    ),
    (KNeighborsClassifier(), change("_fit_X", lambda array: array[:, :-1]), "its rows are broken"),
    (SplineTransformer(), change("bsplines_.0.c", lambda array: array[:-3]), "coefficients"),
    (
        GradientBoostingClassifier(n_estimators=2),
        change("estimators_", lambda trees: np.repeat(trees, 5, axis=1)),
        "for 5 trees a stage",
    ),
    (GradientBoostingClassifier(n_estimators=2), change("n_features_in_", lambda _: 2), "other features"),
    (RandomForestClassifier(2), change("estimators_.0.n_features_in_", lambda _: 2), "other features"),
    (
        HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=2),
        change("n_features_in_", lambda _: 2),
        "its bins are incomplete",
    ),
]


@pytest.mark.parametrize(("estimator", "lie", "message"), LIES)
def test_sizes_that_contradict_each_other_are_refused(
    estimator: Any, lie: Callable[[Any], None], message: str
) -> None:
    content = dump.dump(estimator.fit(ROWS, LABELS), "here")
    check_content(skops_file.loads(content))
    loaded = skops_file.loads(content)
    lie(loaded)
    with pytest.raises(ValueError, match=message):
        check_content(loaded)


def test_the_search_tree_of_neighbours_is_built_anew() -> None:
    rows = np.random.default_rng(1).normal(size=(20, 3))
    for estimator in (KNeighborsClassifier(), LocalOutlierFactor(novelty=True)):
        estimator.fit(ROWS, LABELS)
        content = edited(
            dump.dump(estimator, "here"),
            lambda name, array: array + 1_000_000 if sorted(array.ravel()) == list(range(60)) else array,
        )
        assert skops_file.loads(content).predict(rows).tolist() == estimator.predict(rows).tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("types: shop.Ratio", "a list named types"),
        ("kinds: []", "a list named types"),
        ("code: {shop.py: 12}", "64 hexadecimal digits"),
        ("- shop.Ratio", "can't be read"),
        ("types: [", "can't be read"),
    ],
)
def test_a_wrong_file_of_what_is_trusted_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "trusted.yml"
    path.write_text(text)
    with pytest.raises(BundleError, match=message):
        Trust.read(path)
    assert not Trust.read(tmp_path / "absent.yml", required=False).types
    with pytest.raises(BundleError, match=r"absent\.yml"):
        Trust.read(tmp_path / "absent.yml")


def lose_a_column(boosting: Any) -> None:
    boosting._preprocessor = make_column_transformer(("passthrough", [0])).fit(ROWS[:, :2])


def lose_a_place(boosting: Any) -> None:
    boosting._preprocessor._transformer_to_input_indices["encoder"] = []


def add_a_function(boosting: Any) -> None:
    boosting._preprocessor.transformers_[1][1].func = np.ravel


@pytest.mark.parametrize("harm", [lose_a_column, lose_a_place, add_a_function])
@pytest.mark.parametrize("numbers", [0, 1])
def test_boosted_trees_get_all_their_columns(harm: Callable[[Any], None], numbers: int) -> None:
    frame = pd.DataFrame({"kind": pd.Categorical(["a", "b", "c"] * 20)})
    frame = frame.assign(**{f"x{at}": ROWS[:, at] for at in range(numbers)})
    boosting = HistGradientBoostingClassifier(max_iter=2).fit(frame, LABELS)
    assert check_content(boosting) is boosting
    harm(boosting)
    with pytest.raises(ValueError, match="HistGradientBoostingClassifier is broken"):
        check_content(boosting)


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held

    def method(self) -> None:
        pass


def test_what_lies_in_slots_or_behind_a_method_is_checked_too() -> None:
    tree = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1])
    held = Slotted(tree)
    for holder in (held, [held.method], {"one": held}):
        assert any(part is tree.tree_ for part in parts_of(holder))

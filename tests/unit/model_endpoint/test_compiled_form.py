"""The compiled form in a bundle: made and proved at packing, used by the build, refused when it is not right."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier

from model_endpoint.models import model
from model_endpoint.models.compiled import files, nodes
from model_endpoint.models.compiled.files import read_arrays, write_arrays
from model_endpoint.models.errors import BundleError
from model_endpoint.packing import bundle, checking, compiled_form, image, libraries, packer
from model_endpoint.packing.compiling.compiler import compile_estimator
from model_endpoint.packing.trust import Trust
from unit.model_endpoint import contracts
from unit.model_endpoint.early import EARLY_BUNDLES, as_before

pytestmark = pytest.mark.long

Arrays = dict[str, Any]


@pytest.fixture
def penguins(bundles: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundles / "penguins", tmp_path / "bundles" / "penguins"))


@pytest.fixture
def cancer(bundles: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundles / "breast_cancer", tmp_path / "bundles" / "breast_cancer"))


def predictor_replaced(folder: Path, content: bytes) -> None:
    """Put another compiled form into a bundle, with a card that agrees with it."""
    card = yaml.safe_load((folder / "model.yml").read_text())
    card["predictor_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "model.yml").write_text(yaml.safe_dump(card, sort_keys=False))
    (folder / "predictor.npz").write_bytes(content)


def changed(folder: Path, change: Callable[[Arrays], object]) -> None:
    """Change the arrays of a bundle's compiled form."""
    path = folder / "predictor.npz"
    arrays = read_arrays(path)
    change(arrays)
    write_arrays(path, arrays)
    predictor_replaced(folder, path.read_bytes())


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_card_says_what_serves_and_by_what_proof(tmp_path: Path) -> None:
    made, data = contracts.mixed()
    card = bundle.pack(made, data, tmp_path / "m", name="m", version="1")
    assert card.predictor["kind"] == "numpy pipeline"
    assert card.predictor["proof"]["random_rows"] == 1000
    assert bundle.read_card(tmp_path / "m") == card
    rows = np.arange(40.0).reshape(20, 2)
    near = KNeighborsClassifier(1, p=1).fit(rows, rows[:, 0] > 20)
    card = bundle.pack(near, rows, tmp_path / "m", name="m", version="2")
    assert card.predictor["kind"] == "scikit-learn"
    assert "there is no rule for" in card.predictor["not_compiled"]
    assert not card.compiled
    assert not (tmp_path / "m" / "predictor.npz").exists()


def test_packing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    made, data = contracts.mixed()
    for name in ("a", "b"):
        bundle.pack(made, data, tmp_path / name / "m", name="m", version="1")
    assert content(tmp_path / "a" / "m") == content(tmp_path / "b" / "m")
    assert "predictor.npz" in content(tmp_path / "a" / "m")


def test_the_build_serves_the_very_form_of_the_bundle_and_compiles_nothing(
    bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the estimator is not wanted")

    monkeypatch.setattr(compiled_form, "compile_estimator", fail)
    monkeypatch.setattr(bundle, "_load", fail)
    assert not image.build(bundles, tmp_path / "served")  # no library of the build is needed
    for folder in bundles.iterdir():
        built = tmp_path / "served" / folder.name
        assert (built / "predictor.npz").read_bytes() == (folder / "predictor.npz").read_bytes()
        assert json.loads((built / "model.json").read_text())["predictor"]["proof"]["bit_for_bit"]
        assert not (built / "model.skops").exists()


def test_a_compiled_form_needs_neither_scikit_learn_nor_pandas(
    penguins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (penguins / "model.skops").write_bytes(b"of a version that nobody has")
    card = yaml.safe_load((penguins / "model.yml").read_text())
    card["model_sha256"] = hashlib.sha256(b"of a version that nobody has").hexdigest()
    card["libraries"]["scikit-learn"] = "1.3.2"
    (penguins / "model.yml").write_text(yaml.safe_dump(card, sort_keys=False))
    with monkeypatch.context() as patch:
        for name in ("sklearn", "pandas"):
            patch.setitem(sys.modules, name, None)
        image.build(penguins.parent, tmp_path / "served")
    assert model.load(tmp_path / "served")["penguins"].served_by["kind"] == "numpy pipeline"
    as_before(penguins)
    with pytest.raises(BundleError, match=r"model\.skops can't be loaded"):
        image.build(penguins.parent, tmp_path / "other")


def test_no_libraries_are_locked_for_a_compiled_model_of_a_data_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "lock", lambda _: pytest.fail("the index is asked"))
    made, data = contracts.mixed()
    said = packer.pack(made, data, tmp_path / "m", name="m", version="1")
    assert said.endswith("m 1 is valid and will be served by numpy pipeline")
    assert not (tmp_path / "m" / "requirements.txt").exists()
    assert "pandas" in bundle.read_card(tmp_path / "m").libraries


def test_what_an_earlier_version_packed_is_compiled_by_the_build(tmp_path: Path, bundles: Path) -> None:
    folder = Path(shutil.copytree(EARLY_BUNDLES, tmp_path / "in"))
    as_before(Path(shutil.copytree(bundles / "penguins", folder / "penguins")))
    assert not image.build(folder, tmp_path / "served")
    served = model.load(tmp_path / "served")
    assert {name: one.served_by["kind"] for name, one in served.items()} == {
        "iris": "numpy linear",
        "penguins": "numpy pipeline",
    }
    assert served["iris"].served_by["proof"]["random_rows"] == 1000
    assert checking.check(folder / "iris", Trust()).kind == "numpy linear"


def test_a_model_is_left_to_its_estimator_where_the_form_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(estimator: Any, card: Any) -> Any:
        return compile_estimator(LinearRegression().fit(rows, rows[:, 1]), card)

    rows = np.random.default_rng(0).normal(size=(30, 3))
    monkeypatch.setattr(compiled_form, "compile_estimator", other)
    line = LinearRegression().fit(rows, rows[:, 0])
    card = bundle.pack(line, rows, tmp_path / "m", name="m", version="1")
    assert "predict differs by" in card.predictor["not_compiled"]


def test_a_changed_file_is_refused(penguins: Path, tmp_path: Path) -> None:
    path = penguins / "predictor.npz"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(BundleError, match=r"penguins: predictor\.npz is broken: its SHA-256 is .*; restore"):
        image.build(penguins.parent, tmp_path / "served")


def test_a_form_that_answers_otherwise_is_refused_though_its_hash_is_right(
    cancer: Path, tmp_path: Path
) -> None:
    changed(cancer, lambda arrays: arrays.update(head_threshold=arrays["head_threshold"] * 1.0))
    image.build(cancer.parent, tmp_path / "same")

    def move(arrays: Arrays) -> None:
        arrays["head_threshold"][0] = 1e300  # the first tree sends every row to the left

    changed(cancer, move)
    with pytest.raises(
        BundleError, match=r"breast_cancer: .*(the model itself says|expected).*pack the model again"
    ):
        image.build(cancer.parent, tmp_path / "served")


@pytest.mark.parametrize("number", [files.FORMAT + 1, files.FORMAT - 1])
def test_another_format_is_refused_with_what_to_do(
    number: int, penguins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(files, "FORMAT", number)
        path = tmp_path / "predictor.npz"
        write_arrays(path, {"steps": np.array(["a"])})
    predictor_replaced(penguins, path.read_bytes())
    with pytest.raises(BundleError) as refused:
        image.build(penguins.parent, tmp_path / "served")
    assert str(refused.value) == (
        f"{penguins}: predictor.npz has format {number} of compiled models, and this version of Flotilla reads format "
        "1; pack the model again with flotilla-model pack"
    )


def test_a_change_of_the_parts_raises_the_format() -> None:
    """What the files of format 1 may hold: another set of parts or fields is another format, so raise the number."""
    assert files.FORMAT == 1
    parts = {
        name: sorted(item.name for item in kind.__dataclass_fields__.values() if item.init)
        for name, kind in nodes.KINDS.items()
        if hasattr(kind, "__dataclass_fields__")
    }
    said = json.dumps(parts, sort_keys=True)
    assert hashlib.sha256(said.encode()).hexdigest()[:12] == "12c931da9104", said


def program_of(arrays: Arrays) -> Any:
    return json.loads(arrays["program"].tobytes())


def with_program(arrays: Arrays, program: Any) -> None:
    arrays["program"] = np.frombuffer(json.dumps(program).encode(), np.uint8)


def unknown_part(arrays: Arrays) -> None:
    with_program(arrays, {"part": "Oracle"})


def one_array_twice(arrays: Arrays) -> None:
    program = program_of(arrays)
    program["steps"] = program["steps"] * 2
    with_program(arrays, program)


def deep(arrays: Arrays) -> None:
    arrays["program"] = np.frombuffer(b"[" * 100_000 + b"]" * 100_000, np.uint8)


def no_text(arrays: Arrays) -> None:
    arrays["program"] = np.full(10, 255, np.uint8)


def no_predictor(arrays: Arrays) -> None:
    with_program(arrays, [1])


def column_outside(arrays: Arrays) -> None:
    for name in [name for name, array in arrays.items() if array.dtype.kind == "i"]:
        arrays[name] = arrays[name] + 70


def other_weights(arrays: Arrays) -> None:
    name = next(name for name in arrays if name.endswith("_head_weights"))
    arrays[name] = arrays[name][:-1]


def other_labels(arrays: Arrays) -> None:
    name = next(name for name in arrays if name.endswith("_classes_0"))
    arrays[name] = arrays[name][:-1]


def unknown_link(arrays: Arrays) -> None:
    arrays[next(name for name in arrays if name.endswith("_link"))] = np.array("oracle")


def complex_numbers(arrays: Arrays) -> None:
    name = next(name for name in arrays if name.endswith("_head_weights"))
    arrays[name] = arrays[name].astype(complex)


def gone(arrays: Arrays) -> None:
    del arrays[next(name for name in arrays if name.endswith("_head_weights"))]


@pytest.mark.parametrize(
    "damage",
    [
        *(unknown_part, one_array_twice, deep, no_text, no_predictor, column_outside),
        *(other_weights, other_labels, unknown_link, complex_numbers, gone),
    ],
)
def test_a_hostile_form_is_refused(damage: Callable[[Arrays], None], penguins: Path, tmp_path: Path) -> None:
    changed(penguins, damage)
    with pytest.raises(BundleError, match=r"penguins: .*; pack the model again with flotilla-model pack"):
        image.build(penguins.parent, tmp_path / "served")


def wide(arrays: Arrays) -> None:
    arrays["head_feature"] = np.where(arrays["head_left"] > np.arange(len(arrays["head_left"])), 1 << 40, 0)


def circle(arrays: Arrays) -> None:
    arrays["head_left"][5] = 0


def deeper(arrays: Arrays) -> None:
    arrays["head_depths"] = np.full_like(arrays["head_depths"], len(arrays["head_left"]))


def not_finite(arrays: Arrays) -> None:
    arrays["head_values"][-1] = np.nan


@pytest.mark.parametrize("damage", [wide, circle, deeper, not_finite])
def test_hostile_trees_are_refused(damage: Callable[[Arrays], None], cancer: Path, tmp_path: Path) -> None:
    changed(cancer, damage)
    with pytest.raises(BundleError, match=r"breast_cancer: .*; pack the model again"):
        image.build(cancer.parent, tmp_path / "served")


@pytest.mark.parametrize("damage", ["cut", "pickle", "bomb"])
def test_a_damaged_file_is_refused(damage: str, penguins: Path, tmp_path: Path) -> None:
    written = io.BytesIO()
    if damage == "cut":
        written.write((penguins / "predictor.npz").read_bytes()[:-300])
    elif damage == "pickle":
        np.savez(written, steps=np.array([print], dtype=object))
    else:
        np.savez_compressed(written, steps=np.zeros(1 << 26))
    predictor_replaced(penguins, written.getvalue())
    with pytest.raises(BundleError, match=r"penguins: .*; pack the model again"):
        image.build(penguins.parent, tmp_path / "served")


def test_the_card_and_the_file_must_name_the_same_kind(cancer: Path, tmp_path: Path) -> None:
    text = (cancer / "model.yml").read_text()
    (cancer / "model.yml").write_text(text.replace("kind: numpy trees", "kind: scikit-learn"))
    with pytest.raises(
        BundleError, match=r"the card says that scikit-learn serves it, and predictor\.npz holds"
    ):
        image.build(cancer.parent, tmp_path / "served")
